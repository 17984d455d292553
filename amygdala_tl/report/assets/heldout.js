// Held-out AUROC of every concept, best first: dot, interval, what chance reaches, what word counts reach.

function buildHeldout() {
  const scores = DATA.evaluation;
  const state = { wanted: "", verdict: "" };
  const order = CONCEPTS.map((_, index) => index).sort(
    (a, b) => (scores.auroc.value[b] ?? -1) - (scores.auroc.value[a] ?? -1),
  );
  const top = el("div", { class: "axis" });
  const body = el("div", {
    role: "img",
    "aria-label": "Held-out AUROC of each concept with its interval; the same numbers stand in the verdict table",
  });
  const count = el("p", { class: "empty", role: "status" });
  byId("heldout-figure").append(
    el("div", { class: "rows", tabindex: "0", role: "region", "aria-label": "Held-out scores, best first" }, top, body),
    count,
  );
  byId("heldout-legend").append(
    ...VERDICTS.filter((verdict) => QUALITY.some((quality) => quality.verdict === verdict)).map(verdictLegend),
    legendItem("block", "null", "reached by chance (permuted labels)"),
    legendItem("tick", "muted", "random directions"),
    legendItem("cross", "ink", "bag of words"),
  );
  if (CONCEPTS.length > MANY) {
    byId("heldout-controls").append(
      field(
        "Find concept",
        searchBox("part of a name", (wanted) => ((state.wanted = wanted), draw())),
      ),
      field(
        "Verdict",
        picker(
          [["", "all"], ...VERDICTS.map((verdict) => [verdict, verdict])],
          "",
          (verdict) => ((state.verdict = verdict), draw()),
        ),
      ),
    );
  }
  const finite = [...scores.auroc.low, ...scores.auroc.value, ...scores.bagOfWords, 0.5].filter(known);
  const least = Math.max(0, Math.floor(10 * Math.min(...finite) - 0.2) / 10);

  function hover(index) {
    return [
      `<b>${plain(clip(CONCEPTS[index], 260, 13))}</b>, ${QUALITY[index].verdict}`,
      `AUROC ${fixed(scores.auroc.value[index])} (${range(scores.auroc.low[index], scores.auroc.high[index])})`,
      `null ${fixed(scores.permutationNull[index])}, random directions ${fixed(scores.randomNull[index])}`,
      `bag of words ${fixed(scores.bagOfWords[index])}, token embeddings ${fixed(scores.embedding[index])}`,
      `${scores.nPositive[index]} positive, ${scores.nNegative[index]} negative texts, layer ${QUALITY[index].layer}`,
    ].join("<br>");
  }

  function draw() {
    const shown = order.filter(
      (index) => matches(CONCEPTS[index], state.wanted) && (!state.verdict || QUALITY[index].verdict === state.verdict),
    );
    count.textContent = shown.length ? "" : "No concept fits the filter.";
    count.hidden = shown.length > 0;
    const row = CONCEPTS.length > 40 ? 18 : 24;
    const width = byId("heldout-figure").clientWidth;
    const left = labelMargin(CONCEPTS, width < 600 ? 120 : 200);
    const margin = { l: left, r: 14, t: 0, b: 6 };
    const across = { range: [least, 1.005], dtick: width < 600 ? 0.2 : 0.1, tickformat: ".1f" };
    plot(top, [{ x: [0.5], y: [0], mode: "markers", marker: { opacity: 0 }, hoverinfo: "skip" }], {
      height: 42,
      margin: { ...margin, t: 40, b: 1 },
      xaxis: axis({ ...across, side: "top", showgrid: false, title: "AUROC on held-out texts" }),
      yaxis: { visible: false, fixedrange: true },
    });
    const at = (list, rows) => rows.map((rank) => list[shown[rank]]);
    const ranks = shown.map((_, rank) => rank);
    const points = (list, marker) => ({
      type: "scatter",
      mode: "markers",
      x: at(list, ranks),
      y: ranks,
      hoverinfo: "skip",
      marker,
    });
    const dots = VERDICTS.map((verdict) => {
      const rows = ranks.filter((rank) => QUALITY[shown[rank]].verdict === verdict);
      const [value, low, high] = [scores.auroc.value, scores.auroc.low, scores.auroc.high].map((list) =>
        at(list, rows),
      );
      const ink = colour(slug(verdict));
      return {
        type: "scatter",
        mode: "markers",
        x: value,
        y: rows,
        hoverinfo: "text",
        hovertext: rows.map((rank) => hover(shown[rank])),
        marker: {
          symbol: SYMBOLS[verdict],
          size: verdict === "weak" ? 10 : 9,
          color: ink,
          line: { width: 1.6, color: ink },
        },
        error_x: {
          type: "data",
          symmetric: false,
          array: value.map((v, i) => high[i] - v),
          arrayminus: value.map((v, i) => v - low[i]),
          color: ink,
          thickness: 1.5,
          width: 0,
        },
      };
    });
    plot(
      body,
      [
        {
          type: "bar",
          orientation: "h",
          base: 0.5,
          x: at(scores.permutationNull, ranks).map((v) => (known(v) ? v - 0.5 : null)),
          y: ranks,
          width: 0.62,
          marker: { color: colour("null") },
          hoverinfo: "skip",
        },
        points(scores.randomNull, {
          symbol: "line-ns",
          size: 0.55 * row,
          line: { width: 1.6, color: colour("muted") },
        }),
        points(scores.bagOfWords, { symbol: "x-thin", size: 7, line: { width: 1.5, color: colour("ink") } }),
        ...dots,
      ],
      {
        height: shown.length * row + 8,
        margin,
        hovermode: "closest",
        hoverdistance: 30,
        xaxis: axis({ ...across, showticklabels: false }),
        yaxis: axis({
          range: [shown.length - 0.5, -0.5],
          tickvals: ranks,
          ticktext: shown.map((index) => plain(clip(CONCEPTS[index], left - 12))),
          showgrid: false,
          tickfont: { color: colour("ink"), size: 12 },
        }),
        shapes: [
          {
            type: "line",
            x0: 0.5,
            x1: 0.5,
            yref: "paper",
            y0: 0,
            y1: 1,
            line: { color: colour("muted"), width: 1 },
            layer: "below",
          },
        ],
      },
    );
  }
  figure(draw);
}
