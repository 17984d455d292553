// Separation by layer: every concept as a faint line, their mean, and one chosen concept with its interval.

function buildLayers() {
  const { layers, metrics, of, nPositive, nNegative } = DATA.byLayer;
  const names = [
    ["auroc", "AUROC"],
    ["dPrime", "d\u2032 (deviations apart)"],
    ["fisher", "Fisher ratio"],
  ];
  const node = el("div", {
    role: "img",
    "aria-label": "Separation by layer; the numbers of the chosen concept stand beside it",
  });
  const state = { metric: "auroc", concept: DATA.start };
  const pick = conceptPicker(state.concept, (index) => ((state.concept = index), draw()));
  byId("layers-controls").append(
    ...pick.nodes,
    field(
      "Measure",
      picker(names, state.metric, (metric) => ((state.metric = metric), draw())),
    ),
  );
  byId("layers-figure").append(node);
  const where =
    of === "training folds"
      ? "texts of the training split, each scored with directions fitted without its group"
      : "held-out texts";
  byId("layers-say").textContent =
    `How well each concept separates at every layer, on ${where}. The band is the 95% interval of the chosen concept. ` +
    "Differences between layers that are small beside the band may be chance; a flat line says that the layer hardly matters.";

  function draw() {
    const metric = metrics[state.metric];
    const at = (list) => list.map((row) => row[state.concept]);
    const [value, low, high] = [metric.value, metric.low, metric.high].map(at);
    const ink = colour("accent");
    const line = (y, more) => ({ type: "scatter", x: layers, y, hoverinfo: "skip", connectgaps: false, ...more });
    const faint = { x: [], y: [] };
    CONCEPTS.forEach((_, index) => {
      faint.x.push(...layers, null);
      faint.y.push(...metric.value.map((row) => row[index]), null);
    });
    const traces = [
      line(faint.y, {
        x: faint.x,
        mode: "lines",
        line: { color: colour("other"), width: 1 },
        opacity: CONCEPTS.length > 60 ? 0.45 : 0.8,
      }),
      line(high, { mode: "lines", line: { width: 0 } }),
      line(low, { mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: `${ink}30` }),
      line(metric.mean, {
        mode: "lines+markers",
        line: { color: colour("ink"), width: 2.5 },
        marker: { size: 6, color: colour("ink") },
        hoverinfo: "text",
        hovertext: layers.map((layer, i) => `mean of all concepts, layer ${layer}<br>${fixed(metric.mean[i])}`),
      }),
      line(value, {
        mode: "lines+markers",
        line: { color: ink, width: 2.5 },
        marker: { size: 7, color: ink },
        hoverinfo: "text",
        hovertext: layers.map(
          (layer, i) =>
            `<b>${plain(clip(CONCEPTS[state.concept], 240, 13))}</b>, layer ${layer}<br>${fixed(value[i])} (${range(low[i], high[i])})<br>${nPositive[state.concept]} positive, ${nNegative[state.concept]} negative texts`,
        ),
        // a band needs two layers; one alone gets whiskers
        error_y: {
          visible: layers.length < 2,
          type: "data",
          symmetric: false,
          array: value.map((v, i) => high[i] - v),
          arrayminus: value.map((v, i) => v - low[i]),
          color: ink,
          thickness: 1.5,
          width: 3,
        },
      }),
    ];
    const room = node.clientWidth / 34;
    const every = Math.ceil(layers.length / room);
    const read = QUALITY[state.concept].layer;
    plot(node, traces, {
      height: node.clientWidth < 500 ? 320 : 400,
      margin: { l: 52, r: 16, t: 26, b: 44 },
      xaxis: axis({
        title: "layer",
        tickvals: layers.filter((_, index) => index % every === 0),
        showgrid: false,
        ticks: "outside",
      }),
      yaxis: axis({ title: names.find(([key]) => key === state.metric)[1], tickformat: ".2~f" }),
      shapes: [
        {
          type: "line",
          x0: read,
          x1: read,
          yref: "paper",
          y0: 0,
          y1: 1,
          line: { color: ink, width: 1, dash: "dot" },
          layer: "below",
        },
        ...(state.metric === "auroc"
          ? [
              {
                type: "line",
                xref: "paper",
                x0: 0,
                x1: 1,
                y0: 0.5,
                y1: 0.5,
                line: { color: colour("muted"), width: 1 },
                layer: "below",
              },
            ]
          : []),
      ],
      annotations: [
        {
          x: read,
          yref: "paper",
          y: 1,
          yanchor: "bottom",
          xanchor: read > layers[Math.floor(layers.length / 2)] ? "right" : "left",
          text: `read at layer ${read}`,
          showarrow: false,
          font: { size: 12, color: ink },
        },
        ...(state.metric === "auroc"
          ? [
              {
                xref: "paper",
                x: 1,
                y: 0.5,
                xanchor: "right",
                yanchor: "bottom",
                text: "chance",
                bgcolor: colour("bg"),
                showarrow: false,
                font: { size: 12, color: colour("muted") },
              },
            ]
          : []),
      ],
    });
    byId("layers-legend").replaceChildren(
      legendItem("line", "accent", clip(CONCEPTS[state.concept], 200)),
      legendItem("line", "ink", "mean of all concepts"),
      legendItem("line", "other", "each concept"),
    );
    const head = ["layer", "chosen", "95% interval", "mean"].map((name) =>
      el("th", { scope: "col", class: "num" }, name),
    );
    const rows = layers.map((layer, i) => [
      String(layer),
      fixed(value[i]),
      range(low[i], high[i]),
      fixed(metric.mean[i]),
    ]);
    byId("layers-numbers").replaceChildren(
      el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers by layer" },
        el(
          "table",
          { class: "small" },
          el("thead", {}, el("tr", {}, head)),
          el(
            "tbody",
            {},
            rows.map((row) =>
              el(
                "tr",
                {},
                row.map((cell) => el("td", { class: "num" }, cell)),
              ),
            ),
          ),
        ),
      ),
    );
  }
  figure(draw);
}
