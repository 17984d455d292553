// Causal cross-talk at one layer and dose: which concepts' words move when a direction is added.

function buildMoves() {
  const { concepts, layers, doses, crosstalk } = STEERING;
  const first = steeringPlace(strongest());
  const state = { layer: first.layer, dose: first.dose, wanted: "", cursor: null };
  const found = crosstalk.map((entry) => ({
    ...entry,
    read: lazily(() => ({ effect: unpack(entry.effect), p: unpack(entry.p) })),
  }));
  const status = byId("moves-status");
  const node = el("div", {
    class: "matrix",
    id: "matrix-moves",
    tabindex: "0",
    role: "application",
    "aria-describedby": "moves-status",
    "aria-label": "Effect of adding the concept of the row on the words of the column. Arrow keys move from cell to cell.",
    onkeydown: move,
  });
  const scale = el("div");
  byId("moves-figure").append(scale, node);
  byId("moves-controls").append(
    field(
      "Layer",
      layerPicker(layers, state.layer, (at) => ((state.layer = at), draw())),
    ),
    field(
      "Dose",
      picker(
        doses.map((dose, at) => [at, doseName(dose)]),
        state.dose,
        (at) => ((state.dose = Number(at)), draw()),
        { class: "short" },
      ),
    ),
    field(
      "Find row",
      searchBox("part of a name", (wanted) => ((state.wanted = wanted), draw())),
    ),
  );
  const columns = concepts.map((_, index) => index);
  const alone = concepts.map(() => 0);

  const small = (p) => (p < 0.01 ? "below 0.01" : fixed(p, 2));
  const now = () => found.find(({ layer, dose }) => layer === layers[state.layer] && dose === doses[state.dose]);

  function rows() {
    const shown = columns.filter((index) => matches(concepts[index], state.wanted));
    return shown.length ? shown : columns;
  }

  function select(row, column) {
    const shown = rows();
    state.cursor = {
      row: Math.min(Math.max(row, 0), shown.length - 1),
      column: Math.min(Math.max(column, 0), columns.length - 1),
    };
    const [i, j] = [shown[state.cursor.row], columns[state.cursor.column]];
    const { effect, p } = now().read();
    status.replaceChildren(
      "adding ",
      el("b", {}, concepts[i]),
      i === j ? " moves its own words" : " moves the words of ",
      i === j ? "" : el("b", {}, concepts[j]),
      ` by ${signed(effect(i, j))} nats; p against random directions ${small(p(i, j))}, not corrected.`,
    );
    Plotly.relayout(node, { shapes: matrixShapes(shown, columns, alone, state.cursor) });
  }

  function move(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const { row, column } = state.cursor ?? { row: -step[0], column: -step[1] };
    select(row + step[0], column + step[1]);
  }

  let listening = false;
  function draw() {
    const { read, most } = now();
    const shown = rows();
    const top = most || 1;
    state.cursor = null;
    status.textContent = matches(concepts[shown[0]], state.wanted)
      ? `Layer ${layers[state.layer]}, dose ${doseName(doses[state.dose])}. Point at a cell, or focus the matrix and use the arrow keys.`
      : "No concept fits: all rows are shown.";
    scale.replaceChildren(scaleLegend("h", `${MINUS}${fixed(top, 1)}`, "", `+${fixed(top, 1)} nats`, null));
    const done = drawMatrix(
      { node, low: [-top], high: [top] },
      shown,
      columns,
      read().effect,
      matrixShapes(shown, columns, alone, null),
      concepts,
    );
    if (listening) return;
    listening = true;
    done.then(() => {
      node.on("plotly_hover", (event) => {
        const [row, column] = event.points[0].pointIndex;
        const [i, j] = [rows()[row], columns[column]];
        const { effect, p } = now().read();
        const text = `add ${concepts[i]}\nwords of ${concepts[j]}\n${signed(effect(i, j))} nats, p ${small(p(i, j))}`;
        showTip(text, event.event);
      });
      node.on("plotly_unhover", hideTip);
      node.on("plotly_click", (event) => select(...event.points[0].pointIndex));
    });
  }
  figure(draw);
}
