// Ablation: how far each concept's words fall when its direction is taken out, beside random directions.

function buildRemoved() {
  const { concepts, ablations, summary, level } = STEERING;
  const into = byId("removed-figure");
  if (!ablations.length) {
    into.append(none("Nothing was taken out: the check was run without the training corpus."));
    return;
  }
  const state = { at: 0, wanted: "" };
  const top = el("div", { class: "axis" });
  const body = el("div", { role: "img", "aria-label": "Fall of each concept's words with its interval" });
  into.append(
    el("div", { class: "rows", tabindex: "0", role: "region", "aria-label": "Ablations, largest fall first" }, top, body),
  );
  byId("removed-controls").append(
    field(
      "Taken out at",
      picker(
        ablations.map(({ name }, at) => [at, name]),
        0,
        (at) => ((state.at = Number(at)), draw()),
      ),
    ),
  );
  if (concepts.length > MANY) {
    byId("removed-controls").append(
      field(
        "Find concept",
        searchBox("part of a name", (wanted) => ((state.wanted = wanted), draw())),
      ),
    );
  }
  byId("removed-legend").append(
    legendItem("readable", "accent", "significant"),
    legendItem("not-readable", "accent", "not significant"),
    legendItem("block", "null", "95% of random directions"),
  );

  function hover(found, index) {
    return [
      `<b>${plain(clip(concepts[index], 260, 13))}</b>, ${summary[index].verdict}`,
      `fall ${signed(found.fall[index])} nats (${range(found.low[index], found.high[index], 2)}), ${texts(found.texts[index], "carrying")}`,
      `random ${signed(found.randomMean[index])} \u00b1 ${fixed(found.randomDeviation[index], 2)}, p ${pValue(found.p[index])}`,
    ].join("<br>");
  }

  function draw() {
    const found = ablations[state.at];
    const measured = concepts.map((_, index) => index).filter((index) => known(found.fall[index]));
    const fitting = measured.filter((index) => matches(concepts[index], state.wanted));
    const shown = (fitting.length ? fitting : measured).sort((a, b) => found.fall[b] - found.fall[a]);
    const ranks = shown.map((_, rank) => rank);
    const row = concepts.length > 40 ? 18 : 24;
    const left = labelMargin(concepts, into.clientWidth < 600 ? 120 : 200);
    const margin = { l: left, r: 14, t: 0, b: 6 };
    const edge = (index, side) => found.randomMean[index] + side * BAND * found.randomDeviation[index];
    const all = measured.flatMap((index) => [
      found.low[index] ?? found.fall[index],
      found.high[index] ?? found.fall[index],
      edge(index, -1),
      edge(index, 1),
    ]);
    const room = 0.04 * (Math.max(...all) - Math.min(...all) || 1);
    const across = { range: [Math.min(0, ...all) - room, Math.max(0, ...all) + room], tickformat: ".2~f", nticks: 8 };
    const ink = colour("accent");
    plot(top, [{ x: [0], y: [0], mode: "markers", marker: { opacity: 0 }, hoverinfo: "skip" }], {
      height: 42,
      margin: { ...margin, t: 40, b: 1 },
      xaxis: axis({ ...across, side: "top", showgrid: false, title: "fall of the concept's words, nats" }),
      yaxis: { visible: false, fixedrange: true },
    });
    const value = shown.map((index) => found.fall[index]);
    const reach = (list, sign) => shown.map((index, at) => (known(list[index]) ? sign * (list[index] - value[at]) : 0));
    plot(
      body,
      [
        {
          type: "bar",
          orientation: "h",
          base: shown.map((index) => edge(index, -1)),
          x: shown.map((index) => edge(index, 1) - edge(index, -1)),
          y: ranks,
          width: 0.62,
          marker: { color: colour("null") },
          hoverinfo: "skip",
        },
        {
          type: "scatter",
          mode: "markers",
          x: value,
          y: ranks,
          hoverinfo: "text",
          hovertext: shown.map((index) => hover(found, index)),
          marker: {
            symbol: shown.map((index) => (known(found.p[index]) && found.p[index] <= level ? "circle" : "circle-open")),
            size: 9,
            color: ink,
            line: { width: 1.6, color: ink },
          },
          error_x: {
            type: "data",
            symmetric: false,
            array: reach(found.high, 1),
            arrayminus: reach(found.low, -1),
            color: ink,
            thickness: 1.5,
            width: 0,
          },
        },
      ],
      {
        height: shown.length * row + 8,
        margin,
        hoverdistance: 30,
        xaxis: axis({ ...across, showticklabels: false }),
        yaxis: axis({
          range: [shown.length - 0.5, -0.5],
          tickvals: ranks,
          ticktext: shown.map((index) => plain(clip(concepts[index], left - 12))),
          showgrid: false,
          tickfont: { color: colour("ink"), size: 12 },
        }),
        shapes: [
          {
            type: "line",
            x0: 0,
            x1: 0,
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
