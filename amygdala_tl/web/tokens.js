// Tokens of a text: their elements, their colours, and the way from one to the next by keyboard.

import { el } from "./dom.js";

/** @param {string} token @param {number} at index among the tokens of its text */
export const tokenSpan = (token, at) =>
  el("span", { class: "tok", "data-at": at, tabindex: -1 }, token.replaceAll("\n", "\u21b5\n"));

/** Colour a token by its value, in steps of the scale; NaN has none. @param {HTMLElement} span @param {number} value */
export function colourSpan(span, value) {
  const unknown = Number.isNaN(value);
  span.classList.toggle("none", unknown);
  span.style.background = unknown ? "" : `var(--t${Math.min(8, Math.max(0, Math.round(value) + 4))})`;
}

/** The token under a pointer or with the focus. @param {Event} event */
export function tokenOf({ target }) {
  return target instanceof HTMLElement && target.dataset.at ? target : null;
}

/**
 * Index of the token that a key leads to, or null for any other key.
 * @param {string} key
 * @param {HTMLElement[]} spans
 * @param {number} at index of the token with the focus
 */
export function stepTo(key, spans, at) {
  const last = spans.length - 1;
  const moves = new Map([
    ["ArrowRight", () => at + 1],
    ["ArrowLeft", () => at - 1],
    ["Home", () => 0],
    ["End", () => last],
    ["ArrowDown", () => nearest(spans, at, 1)],
    ["ArrowUp", () => nearest(spans, at, -1)],
  ]);
  const target = moves.get(key)?.();
  return target === undefined || last < 0 ? null : Math.min(Math.max(target, 0), last);
}

/** Index of the token above or below, the nearest by its left edge. @type {(spans: HTMLElement[], at: number, direction: 1 | -1) => number} */
function nearest(spans, at, direction) {
  const from = spans[at].getBoundingClientRect();
  let best = at;
  let least = Infinity;
  for (const [index, span] of spans.entries()) {
    const box = span.getBoundingClientRect();
    const rows = (direction * (box.top - from.top)) / 20;
    const distance = rows * 1000 + Math.abs(box.left - from.left);
    if (rows > 0.5 && distance < least) [best, least] = [index, distance];
  }
  return best;
}
