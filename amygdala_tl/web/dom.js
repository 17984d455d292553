// Elements, small tables, and the marks beside words.

/**
 * @typedef {string | Node | null | undefined | Child[]} Child
 * @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes
 */

/**
 * An element. Strings become text nodes, so nothing from the data is ever parsed as markup.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} attributes `on...` are listeners; false, null and undefined are left out
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  const flat = /** @type {unknown[]} */ (children).flat(Infinity);
  node.append(.../** @type {(string | Node)[]} */ (flat.filter((child) => child !== null && child !== undefined)));
  return node;
}

/** @param {string} id */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`the page has no #${id}`);
  return node;
}

/** @param {string} id of a control @param {boolean} off */
export function disable(id, off) {
  /** @type {HTMLButtonElement} */ (byId(id)).disabled = off;
}

/** One of the page's symbols, `#mark-<name>`. @param {string} name */
export function mark(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "mark");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#mark-${name}`);
  svg.append(use);
  return svg;
}

/**
 * @param {string} markName
 * @param {string} colour name of a custom property of the style sheet
 * @param {string} text
 */
export const legendItem = (markName, colour, text) =>
  el("li", {}, el("span", { style: `color:var(--${colour})` }, mark(markName)), text);

/**
 * A table in small type. Columns hold numbers, unless `words` has their index.
 * @param {string[]} head
 * @param {Child[][]} rows
 * @param {number[]} words
 */
export function smallTable(head, rows, words = []) {
  const kind = (/** @type {number} */ at) => (words.includes(at) ? null : "num");
  return el(
    "table",
    { class: "small" },
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        head.map((name, at) => el("th", { scope: "col", class: kind(at) }, name)),
      ),
    ),
    el(
      "tbody",
      {},
      rows.map((row) =>
        el(
          "tr",
          {},
          row.map((cell, at) => el("td", { class: kind(at) }, cell)),
        ),
      ),
    ),
  );
}

/** A box that scrolls by itself, by keyboard too. @param {string} label @param {Node} content */
export const scrolling = (label, content) =>
  el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, content);

/** Names and their values. @param {[string, Child][]} rows */
export const pairs = (rows) =>
  el(
    "dl",
    {},
    rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );

/** @param {string} text */
export const empty = (text) => el("p", { class: "empty" }, text);

/** A token with its white space made visible. @param {string} token */
export const visible = (token) => token.replaceAll("\n", "\u21b5").replaceAll("\t", "\u21e5");

/** @param {string[]} list */
export const chips = (list) =>
  el(
    "p",
    {},
    list.map((token) => el("code", { class: "chip" }, visible(token))),
  );

/**
 * Move the focus along a list of buttons.
 * @param {KeyboardEvent} event
 * @param {HTMLElement[]} buttons
 * @param {string} back key
 * @param {string} forth key
 */
export function stepFocus(event, buttons, back, forth) {
  const at = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const step = event.key === back ? -1 : event.key === forth ? 1 : 0;
  if (at < 0 || !step) return;
  event.preventDefault();
  buttons[Math.min(Math.max(at + step, 0), buttons.length - 1)].focus();
}

/** Show `#tip` beside the pointer. @param {string} text @param {MouseEvent} pointer */
export function showTip(text, pointer) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const below = pointer.clientY + 18;
  tip.style.left = `${Math.max(4, Math.min(pointer.clientX + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${below + height > innerHeight ? pointer.clientY - height - 12 : below}px`;
}

export function hideTip() {
  byId("tip").hidden = true;
}
