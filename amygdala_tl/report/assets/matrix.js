// Drawing one matrix of cross-talk: names thinned to what fits, lines between clusters, a frame round the chosen cell.

function matrixShapes(rows, columns, cluster, cursor) {
  const edges = (list) => list.map((_, at) => at).filter((at) => at && cluster[list[at]] !== cluster[list[at - 1]]);
  const [right, bottom] = [columns.length - 0.5, rows.length - 0.5];
  const line = { color: colour("bg"), width: columns.length > 60 ? 1 : 2 };
  const drawn = [
    ...edges(columns).map((at) => ({ type: "line", x0: at - 0.5, x1: at - 0.5, y0: -0.5, y1: bottom, line })),
    ...edges(rows).map((at) => ({ type: "line", y0: at - 0.5, y1: at - 0.5, x0: -0.5, x1: right, line })),
  ];
  if (cursor) {
    const { row, column } = cursor;
    const frame = { x0: column - 0.5, x1: column + 0.5, y0: row - 0.5, y1: row + 0.5 };
    drawn.push({ type: "rect", ...frame, line: { color: colour("ink"), width: 2 } });
  }
  return drawn;
}

/** Draws `value(i, j)` for the concepts of rows and columns; cells are square unless few rows are left. */
function drawMatrix({ node, low, high }, rows, columns, value, shapes, names = CONCEPTS) {
  const width = node.clientWidth;
  const left = labelMargin(names, width < 420 ? 92 : 130);
  const cell = (width - left - 4) / columns.length;
  const rowHeight = Math.min(Math.max(cell, rows.length < 12 ? 18 : 0), 34);
  const ticks = (list, size) => {
    const every = Math.ceil(13 / size);
    const shown = list.map((_, at) => at).filter((at) => at % every === 0);
    return {
      tickvals: shown,
      ticktext: shown.map((at) => plain(clip(names[list[at]], left - 10, 11))),
      tickfont: { size: 11, color: colour("ink") },
      showgrid: false,
    };
  };
  const trace = {
    type: "heatmap",
    z: rows.map((i) => columns.map((j) => (Number.isNaN(value(i, j)) ? null : value(i, j)))),
    zmin: low[0],
    zmax: high[0],
    colorscale: scaleColours("h").map((hue, step) => [step / 8, hue]),
    showscale: false,
    hoverinfo: "none",
    hoverongaps: true,
    xgap: cell > 12 ? 1 : 0,
    ygap: cell > 12 ? 1 : 0,
  };
  return plot(node, [trace], {
    height: Math.round(rows.length * rowHeight + left + 8),
    margin: { l: left, r: 4, t: 4, b: left + 4 },
    xaxis: axis({ ...ticks(columns, cell), range: [-0.5, columns.length - 0.5], tickangle: -90 }),
    yaxis: axis({ ...ticks(rows, rowHeight), range: [rows.length - 0.5, -0.5] }),
    shapes,
  });
}

function showTip(text, pointer) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const below = pointer.clientY + 18;
  tip.style.left = `${Math.max(4, Math.min(pointer.clientX + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${below + height > innerHeight ? pointer.clientY - height - 12 : below}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}
