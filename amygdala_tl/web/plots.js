// Figures by plotly.js in the colours of the theme, which redraw themselves, and text that fits into them.

/** @import { Known } from "./types.d.ts" */
import { el } from "./dom.js";
import { minus } from "./numbers.js";
import { saveButtons } from "./save.js";

const FONT = getComputedStyle(document.body).fontFamily;
const pen = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));

/** A name as plotly.js shows it: it reads a little markup in every label. @param {string} text */
export const plain = (text) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(/\s+/g, " ");

/** Width in pixels. @param {string} text */
export function textWidth(text, size = 12) {
  pen.font = `${size}px ${FONT}`;
  return pen.measureText(text).width;
}

/** The beginning of a text that fits, with an ellipsis where it was cut. @param {string} text @param {number} pixels */
export function clip(text, pixels, size = 12) {
  const line = text.replaceAll(/\s+/g, " ");
  if (textWidth(line, size) <= pixels) return line;
  let length = line.length;
  while (length > 1 && textWidth(`${line.slice(0, length)}\u2026`, size) > pixels) length -= 1;
  return `${line.slice(0, length)}\u2026`;
}

/** First line of a hover text. @param {string} name */
export const heading = (name, pixels = 260) => `<b>${plain(clip(name, pixels, 13))}</b>`;

/** @param {string[]} names @param {number} most */
export const labelMargin = (names, most) =>
  Math.min(most, Math.ceil(Math.max(...names.map((name) => textWidth(name)))) + 12);

/** Value of a custom property of the style sheet. @param {string} name */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const STEPS = [...Array(9).keys()];

/** Colour scale of plotly.js. @param {string} letter of the nine colours in the style sheet */
export const colourScale = (letter) => STEPS.map((step) => [step / 8, colour(letter + step)]);

/**
 * Legend of a diverging scale in nine steps.
 * @type {(letter: string, low: string, middle: string, high: string, what?: string) => HTMLElement}
 */
export function scaleLegend(letter, low, middle, high, what = "") {
  const swatches = STEPS.map((step) => el("i", { style: `background:var(--${letter}${step})` }));
  const words = (/** @type {string} */ text) => (text ? el("span", {}, text) : null);
  const colours = el("span", { class: "swatches", "aria-hidden": "true" }, swatches);
  return el("div", { class: "scale" }, words(what), words(low), colours, words(high), words(middle));
}

/** @type {(() => void)[]} */
const figures = [];

/** Register a figure: `draw` runs now and whenever theme or width change. @param {() => void} draw */
export function figure(draw) {
  figures.push(draw);
  draw();
}

export function redraw() {
  for (const draw of figures) draw();
}

/** An axis of plotly.js, its title a string. @param {{ title?: string, [key: string]: unknown }} more */
export function axis({ title = "", ...more } = {}) {
  return {
    ticks: "",
    gridcolor: colour("grid"),
    zeroline: false,
    linecolor: colour("line"),
    tickcolor: colour("line"),
    fixedrange: true,
    tickfont: { color: colour("muted"), size: 12 },
    automargin: false,
    ...more,
    title: { text: title, font: { size: 13, color: colour("muted") }, standoff: 8 },
  };
}

/** @param {(number | null)[]} x @param {Known[]} y @param {object} more */
export const trace = (x, y, more) => ({ type: "scatter", mode: "lines", x, y, hoverinfo: "skip", ...more });

/** The area between two lines. @param {number[]} x @param {Known[]} low @param {Known[]} high @param {string} fillcolor */
export const band = (x, low, high, fillcolor) => [
  trace(x, high, { line: { width: 0 } }),
  trace(x, low, { line: { width: 0 }, fill: "tonexty", fillcolor }),
];

/** @param {Known[]} value @param {Known[]} low @param {Known[]} high @param {string} color */
export const errorBars = (value, low, high, color) => ({
  type: "data",
  symmetric: false,
  array: value.map((v, at) => minus(high[at], v)),
  arrayminus: value.map((v, at) => minus(v, low[at])),
  color,
  thickness: 1.5,
  width: 3,
});

const rule = { type: "line", layer: "below" };

/** A level line across the figure. @param {number} y */
export const level = (y) => ({
  ...rule,
  xref: "paper",
  x0: 0,
  x1: 1,
  y0: y,
  y1: y,
  line: { color: colour("muted"), width: 1 },
});

/** A dotted line from bottom to top. @param {number} x @param {string} color */
export const upright = (x, color) => ({
  ...rule,
  yref: "paper",
  y0: 0,
  y1: 1,
  x0: x,
  x1: x,
  line: { color, width: 1, dash: "dot" },
});

/**
 * A word at the top of an upright line, on its left where `x` is beyond `middle`.
 * @type {(x: number, middle: number, text: string, color: string) => object}
 */
export const note = (x, middle, text, color) => ({
  x,
  yref: "paper",
  y: 1,
  yanchor: "bottom",
  xanchor: x > middle ? "right" : "left",
  text,
  showarrow: false,
  font: { size: 12, color },
});

/**
 * Draw or redraw a figure as wide as its element, with buttons that save it.
 * @param {HTMLElement} node
 * @param {object[]} traces
 * @param {object} layout
 * @param {object | null} saved what differs in the layout of the file; null for a part of a figure, which has no file
 */
export function plot(node, traces, layout, saved = {}) {
  const font = { family: FONT, size: 12, color: colour("ink") };
  const whole = {
    width: node.clientWidth,
    autosize: false,
    dragmode: false,
    showlegend: false,
    hovermode: "closest",
    separators: ".,",
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font,
    hoverlabel: {
      bgcolor: colour("ink"),
      bordercolor: colour("ink"),
      align: "left",
      font: { ...font, size: 13, color: colour("bg") },
    },
    ...layout,
  };
  if (saved) saveButtons(node, traces, { ...whole, paper_bgcolor: colour("bg"), ...saved });
  return Plotly.react(node, traces, whole, {
    displayModeBar: false,
    responsive: false,
    showTips: false,
    doubleClick: false,
    scrollZoom: false,
  });
}
