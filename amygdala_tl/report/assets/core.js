// Shared by all parts of the page: the data, number formats, elements, theme colours, and figures that redraw themselves.

const DATA = JSON.parse(document.getElementById("data").textContent);
const CONCEPTS = DATA.concepts ?? []; // a page may show a causal check alone
const QUALITY = DATA.quality ?? [];
const VERDICTS = ["readable", "weak", "redundant", "not readable"];
const SYMBOLS = { readable: "circle", weak: "diamond", redundant: "square", "not readable": "circle-open" };
const DASH = "\u2013";
const MINUS = "\u2212";
const MANY = 24; // from here on a list gets a box to filter it

const slug = (verdict) => verdict.replaceAll(" ", "-");
const known = (value) => typeof value === "number" && Number.isFinite(value);

function fixed(value, digits = 3) {
  if (!known(value)) return DASH;
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

function signed(value, digits = 2) {
  const text = fixed(value, digits);
  return known(value) && Number(text) > 0 ? `+${text}` : text;
}

const range = (low, high, digits = 3) =>
  known(low) && known(high) ? `${fixed(low, digits)} to ${fixed(high, digits)}` : DASH;
const pValue = (p) => (known(p) && p < 0.001 ? "< 0.001" : fixed(p));
const texts = (n, kind) => `${n.toLocaleString("en")} ${kind} text${n === 1 ? "" : "s"}`;

/** An element; strings become text nodes, so nothing from the data is ever parsed as markup. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

function mark(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "mark");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#mark-${name}`);
  svg.append(use);
  return svg;
}

const byId = (id) => document.getElementById(id);
const legendItem = (markName, colour, text) =>
  el("li", {}, el("span", { style: `color:var(--${colour})` }, mark(markName)), text);
const verdictLegend = (verdict) => legendItem(slug(verdict), slug(verdict), verdict);

/** Packed signed bytes as a function of indices; NaN where nothing was computed. */
function unpack(packed) {
  const bytes = Int8Array.from(atob(packed.bytes), (character) => character.charCodeAt(0));
  return (...index) => {
    const value = bytes[index.reduce((flat, at, axis) => flat * packed.shape[axis] + at, 0)];
    return value === -128 ? NaN : value * packed.step;
  };
}

/** Where a view of one layer opens: at the layer where most concepts are read. */
const opening = (list) =>
  Math.max(
    0,
    list.findIndex(({ layer }) => layer === DATA.commonLayer),
  );

const lazily = (make) => {
  let made;
  return () => (made ??= make());
};

// plotly reads a little markup in labels, even in plain names.
const plain = (text) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(/\s+/g, " ");

const FONT = getComputedStyle(document.body).fontFamily;
const pen = document.createElement("canvas").getContext("2d");

function textWidth(text, size = 12) {
  pen.font = `${size}px ${FONT}`;
  return pen.measureText(text).width;
}

/** The beginning of a name that fits, with an ellipsis if it was cut. */
function clip(text, pixels, size = 12) {
  const line = text.replaceAll(/\s+/g, " ");
  if (textWidth(line, size) <= pixels) return line;
  let length = line.length;
  while (length > 1 && textWidth(`${line.slice(0, length)}\u2026`, size) > pixels) length -= 1;
  return `${line.slice(0, length)}\u2026`;
}

const labelMargin = (names, most) => Math.min(most, Math.ceil(Math.max(...names.map((name) => textWidth(name)))) + 12);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const scaleColours = (letter) => [...Array(9).keys()].map((step) => colour(letter + step));

/** Legend of a diverging scale in nine steps. */
function scaleLegend(letter, low, middle, high, what) {
  const swatches = [...Array(9).keys()].map((step) => el("i", { style: `background:var(--${letter}${step})` }));
  const words = (text) => (text ? el("span", {}, text) : null);
  return el(
    "div",
    { class: "scale" },
    words(what),
    words(low),
    el("span", { class: "swatches", "aria-hidden": "true" }, swatches),
    words(high),
    words(middle),
  );
}

const figures = [];

/** Register a figure: `draw` runs now and whenever theme or width change. */
function figure(draw) {
  figures.push(draw);
  draw();
}

function axis(more = {}) {
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
    title: { text: more.title ?? "", font: { size: 13, color: colour("muted") }, standoff: 8 },
  };
}

function plot(node, traces, layout) {
  return Plotly.react(
    node,
    traces,
    {
      width: node.clientWidth,
      autosize: false,
      dragmode: false,
      showlegend: false,
      hovermode: "closest",
      separators: ".,",
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: FONT, size: 12, color: colour("ink") },
      hoverlabel: {
        bgcolor: colour("ink"),
        bordercolor: colour("ink"),
        align: "left",
        font: { family: FONT, size: 13, color: colour("bg") },
      },
      ...layout,
    },
    { displayModeBar: false, responsive: false, showTips: false, doubleClick: false, scrollZoom: false },
  );
}
