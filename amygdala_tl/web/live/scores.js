// From raw scores to what is shown: at one layer or over all of them, raw or as z.

/** @import { Manifest, Said, Scores, Sums, View } from "./types.d.ts" */

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

  const wide = concepts.length;

  /**
   * Value of a concept, NaN where it was not computed.
   * @param {Scores} scores of a token, or the mean of n
   * @param {number} concept
   * @param {View} view
   */
  function value(scores, concept, { layer, raw }, n = 1) {
    if (!scores) return Number.NaN;
    const every = layer < 0;
    const score = scores[(every ? layers.length : layer) * wide + concept];
    const of = every ? ofAll : one;
    if (raw || !of) return score;
    const row = every ? 0 : layer;
    const share = shrinkage(every ? lengthsOfAll : lengths, row, concept, n);
    return (score - of.mean[row][concept]) / (of.std[row][concept] * share);
  }

  /** Scores of a token as the server says them; a server that says none over all layers leaves the sum to the page. */
  function pack(/** @type {Said} */ said, /** @type {Sums | undefined} */ sums) {
    if (!said) return null;
    const packed = new Float32Array(wide * (layers.length + 1)).fill(Number.NaN);
    for (const [layer, row] of said.entries()) packed.set(row.map(known), layer * wide);
    if (sums) packed.set(sums.map(known), layers.length * wide);
    else if (all)
      for (let concept = 0; concept < wide; concept += 1)
        packed[layers.length * wide + concept] = all.weights.reduce(
          (total, row, layer) => total + row[concept] * packed[layer * wide + concept],
          0,
        );
    return packed;
  }

  /** Scores of the layers as the server says them. @param {Scores} scores @returns {Said} */
  const unpack = (scores) =>
    scores &&
    layers.map((_, layer) =>
      Array.from(scores.subarray(layer * wide, (layer + 1) * wide), (score) => (Number.isNaN(score) ? null : score)),
    );

  return { concepts, layers, unread, calibrated: Boolean(one), combined: Boolean(all && ofAll), value, pack, unpack };
}

/** @param {number | null} score */
const known = (score) => score ?? Number.NaN;

/** Mean of the scores that were computed, and how many they are. @param {Scores[]} list @returns {[Scores, number]} */
export function mean(list) {
  let n = 0;
  /** @type {Scores} */
  let sum = null;
  for (const scores of list) {
    if (!scores) continue;
    n += 1;
    if (!sum) sum = scores.slice();
    else for (let at = 0; at < sum.length; at += 1) sum[at] += scores[at];
  }
  return [sum?.map((total) => total / n) ?? null, n];
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
