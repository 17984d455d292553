// A matrix as coloured cells: names thinned to what fits, lines between clusters, and a frame that arrow keys or a click move.

import { el, hideTip, showTip } from "./dom.js";
import { axis, clip, colour, colourScale, labelMargin, plain, plot } from "./plots.js";

/**
 * @typedef {object} View what is drawn
 * @property {string[]} names
 * @property {number[]} rows indices into `names`
 * @property {number[]} columns
 * @property {(i: number, j: number) => number} value
 * @property {number} low value of the first colour
 * @property {number} high value of the last colour
 * @property {number[]} [cluster] number of each name's cluster
 */

const STEPS = new Map([
  ["ArrowUp", [-1, 0]],
  ["ArrowDown", [1, 0]],
  ["ArrowLeft", [0, -1]],
  ["ArrowRight", [0, 1]],
]);

/**
 * @param {object} options
 * @param {string} options.id
 * @param {string} options.label what the cells are
 * @param {string} options.status id of the element that says what the chosen cell means
 * @param {(i: number, j: number) => string} options.tip what a cell says under the pointer
 * @param {(cell: [row: number, column: number]) => void} options.onselect a cell was chosen; call `frame` to show it
 */
export function matrix({ id, label, status, tip, onselect }) {
  const node = el("div", {
    class: "matrix",
    id,
    tabindex: 0,
    role: "application",
    "aria-describedby": status,
    "aria-label": `${label}. Arrow keys move from cell to cell.`,
    onkeydown: move,
  });
  /** @type {View} */
  let view;
  /** @type {[number, number] | null} */
  let cursor = null;
  let listening = false;

  /** @param {[number, number]} cell */
  function select([row, column]) {
    const within = (/** @type {number} */ at, /** @type {number[]} */ list) =>
      Math.min(Math.max(at, 0), list.length - 1);
    onselect([within(row, view.rows), within(column, view.columns)]);
  }

  /** @param {KeyboardEvent} event */
  function move(event) {
    const step = STEPS.get(event.key);
    if (!step) return;
    event.preventDefault();
    select(cursor ? [cursor[0] + step[0], cursor[1] + step[1]] : [0, 0]);
  }

  /** @param {[number, number]} cell */
  function frame(cell) {
    cursor = cell;
    Plotly.relayout(node, { shapes: shapes(view, cursor) });
  }

  /** @param {View} now */
  async function draw(now) {
    view = now;
    cursor = null;
    const drawn = await drawCells(node, view);
    if (listening) return;
    listening = true;
    drawn.on("plotly_hover", ({ points, event }) => {
      const [row, column] = points[0].pointIndex;
      showTip(tip(view.rows[row], view.columns[column]), event);
    });
    drawn.on("plotly_unhover", hideTip);
    drawn.on("plotly_click", ({ points }) => select(points[0].pointIndex));
  }

  return { node, draw, frame };
}

/** @param {View} view @param {[number, number] | null} cursor */
function shapes({ rows, columns, cluster }, cursor) {
  const edges = (/** @type {number[]} */ list) =>
    cluster ? [...list.keys()].filter((at) => at && cluster[list[at]] !== cluster[list[at - 1]]) : [];
  const line = { color: colour("bg"), width: columns.length > 60 ? 1 : 2 };
  const [left, right, bottom] = [-0.5, columns.length - 0.5, rows.length - 0.5];
  const drawn = [
    ...edges(columns).map((at) => ({ type: "line", x0: at - 0.5, x1: at - 0.5, y0: left, y1: bottom, line })),
    ...edges(rows).map((at) => ({ type: "line", y0: at - 0.5, y1: at - 0.5, x0: left, x1: right, line })),
  ];
  if (!cursor) return drawn;
  const [row, column] = cursor;
  const frame = { x0: column - 0.5, x1: column + 0.5, y0: row - 0.5, y1: row + 0.5 };
  return [...drawn, { type: "rect", ...frame, line: { color: colour("ink"), width: 2 } }];
}

/** Cells are square, unless few rows are left. @param {HTMLElement} node @param {View} view */
function drawCells(node, view) {
  const { names, rows, columns, value, low, high } = view;
  const width = node.clientWidth;
  const left = labelMargin(names, width < 420 ? 92 : 130);
  const cell = (width - left - 4) / columns.length;
  const rowHeight = Math.min(Math.max(cell, rows.length < 12 ? 18 : 0), 34);
  const gap = cell > 12 ? 1 : 0;
  const ticks = (/** @type {number[]} */ list, /** @type {number} */ size) => {
    const tickvals = [...list.keys()].filter((at) => at % Math.ceil(13 / size) === 0);
    const ticktext = tickvals.map((at) => plain(clip(names[list[at]], left - 10, 11)));
    return { tickvals, ticktext, tickfont: { size: 11, color: colour("ink") }, showgrid: false };
  };
  const cells = {
    type: "heatmap",
    z: rows.map((i) => columns.map((j) => (Number.isNaN(value(i, j)) ? null : value(i, j)))),
    zmin: low,
    zmax: high,
    colorscale: colourScale("h"),
    showscale: false,
    hoverinfo: "none",
    hoverongaps: true,
    xgap: gap,
    ygap: gap,
  };
  return plot(node, [cells], {
    height: Math.round(rows.length * rowHeight + left + 8),
    margin: { l: left, r: 4, t: 4, b: left + 4 },
    xaxis: axis({ ...ticks(columns, cell), range: [-0.5, columns.length - 0.5], tickangle: -90 }),
    yaxis: axis({ ...ticks(rows, rowHeight), range: [rows.length - 0.5, -0.5] }),
    shapes: shapes(view, null),
  });
}
