// From raw scores to what is shown: at one layer or over all of them, raw or as z.

/** @import { Manifest, Scores, View } from "./types.d.ts" */

/** @typedef {ReturnType<typeof scorer>} Scorer */

/** @param {Manifest} manifest */
export function scorer({ concepts, layers, amygdala_tl: about = {} }) {
  const one = about.calibration?.tokens;
  const lengths = about.calibration?.lengths;
  const all = about.combined;
  const ofAll = all?.calibration.tokens;
  const lengthsOfAll = all?.calibration.lengths;
  const unread = concepts.map((name) => ["not readable", "undecided"].includes(about.verdicts?.[name]?.verdict ?? ""));

  /** Deviation of a mean over n tokens as a share of a token's. @param {typeof lengths} of */
  function shrinkage(of, /** @type {number} */ layer, /** @type {number} */ concept, /** @type {number} */ n) {
    if (!of || n === 1) return 1;
    const floor = of.floor[layer][concept];
    return Math.sqrt(floor + ((1 - floor) * of.reach[layer]) / (n + of.reach[layer] - 1));
  }

  /**
   * Value of a concept, NaN where it was not computed.
   * @param {Scores} scores of a token, or the mean of n
   * @param {number} concept
   * @param {View} view
   */
  function value(scores, concept, { layer, raw }, n = 1) {
    if (!scores) return Number.NaN;
    if (layer >= 0) {
      const score = scores[layer][concept] ?? Number.NaN;
      if (raw || !one) return score;
      return (score - one.mean[layer][concept]) / (one.std[layer][concept] * shrinkage(lengths, layer, concept, n));
    }
    if (!all || !ofAll) return Number.NaN;
    const sum = all.weights.reduce((total, row, at) => total + row[concept] * (scores[at][concept] ?? Number.NaN), 0);
    if (raw) return sum;
    return (sum - ofAll.mean[0][concept]) / (ofAll.std[0][concept] * shrinkage(lengthsOfAll, 0, concept, n));
  }

  return { concepts, layers, unread, calibrated: Boolean(one), combined: Boolean(all && ofAll), value };
}

/** Mean of the scores that were computed, and how many they are. @param {Scores[]} list @returns {[Scores, number]} */
export function mean(list) {
  const known = list.filter((scores) => scores !== null);
  if (!known.length) return [null, 0];
  const sum = known[0].map((row, layer) =>
    row.map((_, concept) => known.reduce((total, each) => total + (each[layer][concept] ?? Number.NaN), 0)),
  );
  return [sum.map((row) => row.map((total) => total / known.length)), known.length];
}

const MARGIN = 0.03;

/** An order from strongest to weakest in which a value that moves less than 3% of the range moves no row. */
export function steadyOrder() {
  /** @type {number[]} */
  let held = [];
  /** @type {number[]} */
  let order = [];
  return (/** @type {number[]} */ values) => {
    if (held.length !== values.length) [held, order] = [[...values], [...values.keys()]];
    const margin = MARGIN * (Math.max(...values) - Math.min(...values));
    for (const [at, value] of values.entries()) if (Math.abs(value - held[at]) > margin) held[at] = value;
    order = order.toSorted((a, b) => held[b] - held[a]);
    return order;
  };
}

/** A round number of at least `largest` that changes only when it must. @param {number} previous @param {number} largest */
export function steadyScale(previous, largest) {
  if (!(largest > 0) || !Number.isFinite(largest)) return previous || 1;
  if (largest <= previous && previous <= 4 * largest) return previous;
  const unit = 10 ** Math.floor(Math.log10(largest));
  return unit * /** @type {number} */ ([1, 2, 5, 10].find((step) => step * unit >= largest) ?? 10);
}
