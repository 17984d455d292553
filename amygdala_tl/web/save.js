// Buttons below a figure that save it: as SVG as it is drawn, or as PNG at twice its size.

import { el } from "./dom.js";

/** Figure -> what is saved of it now. @type {WeakMap<HTMLElement, { data: object[], layout: object }>} */
const figures = new WeakMap();

/**
 * Let a figure be saved; the buttons are added the first time.
 * @param {HTMLElement} node of the figure
 * @param {object[]} data
 * @param {object} layout with a size, and a background, because a page may be dark
 */
export function saveButtons(node, data, layout) {
  const known = figures.has(node);
  figures.set(node, { data, layout });
  if (known) return;
  const button = (/** @type {"svg" | "png"} */ format) => {
    const name = format.toUpperCase();
    return el(
      "button",
      { type: "button", "aria-label": `Save this figure as ${name}`, onclick: () => save(node, format) },
      name,
    );
  };
  (node.closest(".rows") ?? node).after(el("div", { class: "save" }, button("svg"), button("png")));
}

/** @param {HTMLElement} node @param {"svg" | "png"} format */
function save(node, format) {
  const figure = figures.get(node);
  if (!figure) return;
  const filename = node.id || node.closest("[id]")?.id || "figure";
  Plotly.downloadImage(figure, { format, filename, scale: format === "png" ? 2 : 1 });
}
