// Numbers as text, and packed numbers.

/** @import { Known, Packed } from "./types.d.ts" */

export const DASH = "\u2013";
export const MINUS = "\u2212";

/** @param {unknown} value @returns {value is number} */
export const known = (value) => typeof value === "number" && Number.isFinite(value);

/** @param {Known} value */
export function fixed(value, digits = 3) {
  if (!known(value)) return DASH;
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** @param {Known} value */
export function signed(value, digits = 2) {
  const text = fixed(value, digits);
  return Number(text) > 0 ? `+${text}` : text;
}

/** @param {Known} low @param {Known} high */
export const range = (low, high, digits = 3) =>
  known(low) && known(high) ? `${fixed(low, digits)} to ${fixed(high, digits)}` : DASH;

/** Mean and deviation. @param {Known} mean @param {Known} deviation */
export const spread = (mean, deviation, digits = 2) => `${signed(mean, digits)} \u00b1 ${fixed(deviation, digits)}`;

/** @param {Known} p */
export const pValue = (p) => (known(p) && p < 0.001 ? "< 0.001" : fixed(p));

/** @param {Known} share */
export const percent = (share) => (known(share) ? `${Math.round(100 * share)}%` : DASH);

/** @param {Known} a @param {Known} b */
export const minus = (a, b) => (known(a) && known(b) ? a - b : null);

/** Packed values as a function of indices, unpacked on the first call; NaN where nothing was computed. @param {Packed} packed */
export function unpack({ bytes, shape, step }) {
  /** @type {Int8Array | undefined} */
  let steps;
  return (/** @type {number[]} */ ...index) => {
    steps ??= Int8Array.from(atob(bytes), (character) => character.charCodeAt(0));
    const value = steps[index.reduce((flat, at, axis) => flat * shape[axis] + at, 0)];
    return value === -128 ? Number.NaN : value * step;
  };
}
