// A figure that Python made with one row a concept: drawn in the theme's colours, as wide as the page, below an axis that stays.

/** @import { RowFigure } from "./types.d.ts" */
import { byId, el } from "./dom.js";
import { axis, clip, colour, labelMargin, plain, plot } from "./plots.js";

/**
 * Prepare `#<id>`.
 * @param {string} id
 * @param {string} label of the box that scrolls
 * @param {string} description of the figure
 * @param {string[]} names of all concepts
 * @returns {(figure: RowFigure, keep: (concept: number) => boolean) => void} draws the rows to keep
 */
export function rowFigure(id, label, description, names) {
  const top = el("div", { class: "axis" });
  const body = el("div", { role: "img", "aria-label": description });
  const nothing = el("p", { class: "empty", role: "status" });
  byId(id).append(el("div", { class: "rows", tabindex: 0, role: "region", "aria-label": label }, top, body), nothing);

  return ({ order, row, data, layout }, keep) => {
    const kept = order.filter(keep);
    nothing.textContent = kept.length ? "" : "No concept fits the filter.";
    nothing.hidden = kept.length > 0;
    const narrow = byId(id).clientWidth < 600;
    const left = labelMargin(names, narrow ? 120 : 200);
    const margin = { l: left, r: 14, t: 0, b: 6 };
    const { title, ...across } = { ...layout.xaxis, nticks: narrow ? 6 : layout.xaxis.nticks };
    const above = axis({ ...across, side: "top", title: title.text });
    const nowhere = [{ x: [0], y: [0], mode: "markers", marker: { opacity: 0 }, hoverinfo: "skip" }];
    const head = {
      height: 42,
      margin: { ...margin, t: 40, b: 1 },
      xaxis: { ...above, showgrid: false },
      yaxis: { visible: false, fixedrange: true },
    };
    plot(top, nowhere, head, null);
    const ranks = [...kept.keys()];
    const traces = data.map((each) => ({
      .../** @type {object} */ (themed(ofConcepts(each, kept, names.length))),
      y: ranks,
    }));
    const rows = {
      .../** @type {object} */ (themed(layout)),
      height: kept.length * row + 8,
      margin,
      hoverdistance: 30,
      xaxis: axis({ ...across, showticklabels: false }),
      yaxis: axis({
        range: [kept.length - 0.5, -0.5],
        tickvals: ranks,
        ticktext: kept.map((concept) => plain(clip(names[concept], left - 12))),
        showgrid: false,
        ticklabeloverflow: "allow", // `clip` fits the names, and plotly would measure every one of them again
        tickfont: { color: colour("ink"), size: 12 },
      }),
    };
    plot(body, traces, rows, { height: rows.height + 44, margin: { ...margin, t: 44 }, xaxis: above });
  };
}

/**
 * A copy of nested lists and records with `change` applied to every part; parts that it replaces are not searched further.
 * @type {(value: unknown, change: (part: unknown) => unknown) => unknown}
 */
function changed(value, change) {
  const now = change(value);
  if (now !== value || typeof now !== "object" || now === null) return now;
  if (Array.isArray(now)) return now.map((item) => changed(item, change));
  return Object.fromEntries(Object.entries(now).map(([key, item]) => [key, changed(item, change)]));
}

/** `var(--ink)` as its colour: plotly.js does not know the style sheet. @param {unknown} value */
const themed = (value) =>
  changed(value, (part) => (typeof part === "string" && part.startsWith("var(--") ? colour(part.slice(6, -1)) : part));

/** A trace of some concepts. @param {unknown} value @param {number[]} kept @param {number} concepts in all */
const ofConcepts = (value, kept, concepts) =>
  changed(value, (part) =>
    Array.isArray(part) && part.length === concepts ? kept.map((concept) => part[concept]) : part,
  );
