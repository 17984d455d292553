// Cross-talk at one layer: what the two matrices show, what a cell means in words, and the keys that walk over cells.

function buildCrosstalk() {
  if (!DATA.crosstalk.length) {
    byId("crosstalk-figures").append(el("p", { class: "empty" }, "No cross-talk was computed."));
    return;
  }
  const found = DATA.crosstalk.map((entry) => ({
    ...entry,
    read: lazily(() => ({
      cosine: unpack(entry.cosine),
      auroc: unpack(entry.auroc),
      labels: unpack(entry.labelCorrelation),
    })),
  }));
  const state = {
    at: opening(found),
    wanted: "",
    cluster: "",
    cursor: null,
  };
  const kinds = [
    {
      key: "cosine",
      title: "Cosine of the directions",
      low: [-1, `${MINUS}1`],
      middle: [0, "(0: unrelated)"],
      high: [1, "1"],
    },
    {
      key: "auroc",
      title: "AUROC of readout (row) on label (column)",
      low: [0, "0"],
      middle: [0.5, "(0.5: no answer)"],
      high: [1, "1"],
    },
  ];
  const status = byId("crosstalk-status");
  const clusterField = el("span");
  for (const kind of kinds) {
    kind.node = el("div", {
      class: "matrix",
      id: `matrix-${kind.key}`,
      tabindex: "0",
      role: "application",
      "aria-describedby": "crosstalk-status",
      "aria-label": `${kind.title}. Arrow keys move from cell to cell.`,
      onkeydown: move,
    });
    byId("crosstalk-figures").append(
      el(
        "div",
        {},
        el("h3", {}, kind.title),
        scaleLegend("h", kind.low[1], kind.middle[1], kind.high[1], null),
        kind.node,
      ),
    );
  }
  byId("crosstalk-controls").append(
    field(
      "Layer",
      layerPicker(
        found.map(({ layer }) => layer),
        state.at,
        (at) => ((state.at = at), (state.cluster = ""), listClusters(), draw()),
      ),
    ),
    clusterField,
    field(
      "Find row",
      searchBox("part of a name", (wanted) => ((state.wanted = wanted), draw())),
    ),
  );

  function listClusters() {
    const { cluster, order } = found[state.at];
    const seen = new Map();
    for (const index of order) seen.set(cluster[index], [...(seen.get(cluster[index]) ?? []), index]);
    const named = [...seen]
      .filter(([, list]) => list.length > 1)
      .map(([number, list]) => [
        number,
        `${clip(list.map((index) => CONCEPTS[index]).join(", "), 220)} (${list.length})`,
      ]);
    clusterField.replaceChildren(
      field(
        "Cluster",
        picker([["", "all"], ...named], "", (value) => ((state.cluster = value), draw())),
      ),
    );
  }

  function axes() {
    const { order, cluster } = found[state.at];
    const columns = order.filter((index) => state.cluster === "" || String(cluster[index]) === state.cluster);
    const rows = columns.filter((index) => matches(CONCEPTS[index], state.wanted));
    return { columns, rows: rows.length ? rows : columns, none: !rows.length };
  }

  function describe(i, j) {
    const { read, nPositive, nNegative } = found[state.at];
    const { cosine, auroc, labels } = read();
    return [
      el("b", {}, `readout ${CONCEPTS[i]}`),
      " on texts labelled ",
      el("b", {}, CONCEPTS[j]),
      `: AUROC ${fixed(auroc(i, j), 2)} (${texts(nPositive[j], "positive")}, ${nNegative[j]} negative). `,
      `Cosine of the two directions ${fixed(cosine(i, j), 2)}; the labels correlate ${signed(labels(i, j))}.`,
    ];
  }

  function short(kind, i, j) {
    const { read, nPositive, nNegative } = found[state.at];
    const value = `${kind.key === "cosine" ? "cosine" : "AUROC"} ${fixed(read()[kind.key](i, j), 2)}`;
    return `${CONCEPTS[i]} \u00d7 ${CONCEPTS[j]}\n${value}\n${texts(nPositive[j], "positive")}, ${nNegative[j]} negative`;
  }

  function select(row, column) {
    const { rows, columns } = axes();
    state.cursor = {
      row: Math.min(Math.max(row, 0), rows.length - 1),
      column: Math.min(Math.max(column, 0), columns.length - 1),
    };
    status.replaceChildren(...describe(rows[state.cursor.row], columns[state.cursor.column]));
    for (const kind of kinds) Plotly.relayout(kind.node, { shapes: frame(rows, columns) });
  }

  function move(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const { row, column } = state.cursor ?? { row: -step[0], column: -step[1] };
    select(row + step[0], column + step[1]);
  }

  const frame = (rows, columns) => matrixShapes(rows, columns, found[state.at].cluster, state.cursor);

  function draw() {
    const { columns, rows, none } = axes();
    const { read, layer } = found[state.at];
    state.cursor = null;
    status.textContent = none
      ? "No concept fits: all rows are shown."
      : `Layer ${layer}. Point at a cell, or focus a matrix and use the arrow keys.`;
    for (const kind of kinds) {
      const done = drawMatrix(kind, rows, columns, read()[kind.key], frame(rows, columns));
      if (!kind.listening) {
        kind.listening = true;
        done.then(() => {
          kind.node.on("plotly_hover", (event) => {
            const now = axes();
            const [row, column] = event.points[0].pointIndex;
            showTip(short(kind, now.rows[row], now.columns[column]), event.event);
          });
          kind.node.on("plotly_unhover", hideTip);
          kind.node.on("plotly_click", (event) => select(...event.points[0].pointIndex));
        });
      }
    }
    listWarnings(found[state.at]);
  }
  listClusters();
  figure(draw);
}
