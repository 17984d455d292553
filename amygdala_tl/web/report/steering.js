// The causal check: its table of verdicts, and what the figures of the steering sections share.

/** @import { Child } from "../dom.js" */
/** @import { Steering, Summary } from "./types.d.ts" */
import { chips, el, empty, mark, pairs } from "../dom.js";
import { fixed, known, percent, pValue, range, signed, spread } from "../numbers.js";
import { column, sortableTable, WIDE, WIDE_UP } from "../sortable.js";
import { facet } from "./details.js";
import { STEERING_LOOKS } from "./looks.js";

/** @param {number} dose */
export const doseName = (dose) => String(Number(dose.toPrecision(4)));

/**
 * Indices of the layer and dose that a concept's figures open with: recommended, or else nearest.
 * @type {(run: Steering, index: number) => { layer: number, dose: number }}
 */
export function place({ summary, layers, doses }, index) {
  const { layer, dose } = summary[index];
  return { layer: Math.max(0, layers.indexOf(layer)), dose: Math.max(0, doses.indexOf(dose)) };
}

/** The concept with the largest effect of those that steer, or else of all. @param {Steering} run */
export function strongest({ summary }) {
  const rank = summary.map(({ verdict, effect }) => (verdict === "steers" ? 1e6 : 0) + (effect ?? -1e3));
  return rank.indexOf(Math.max(...rank));
}

/** @param {Steering} run */
export function showSteering(run) {
  const { concepts, summary, seeds } = run;
  const verdicts = Object.keys(STEERING_LOOKS);
  /** @type {<Key extends keyof Summary>(key: Key) => Summary[Key][]} */
  const all = (key) => summary.map((each) => each[key]);
  const two = (/** @type {(number | null)[]} */ list) => list.map((each) => signed(each));
  const [effect, low, p, mean] = [all("effect"), all("low"), all("p"), all("randomMean")];
  const intervals = summary.map(({ low, high }) => range(low, high, 2));
  const random = summary.map(({ randomMean, randomDeviation }) => spread(randomMean, randomDeviation, 1));
  const order = summary.map(({ layer, dose }) => layer * 1000 + dose);
  const places = summary.map(({ layer, dose }) => `${layer}, ${doseName(dose)}`);
  sortableTable({
    id: "steering",
    names: concepts,
    verdicts,
    verdictOf: all("verdict"),
    showVerdict: (i) => {
      const { verdict, steersIn } = summary[i];
      const look = STEERING_LOOKS[verdict];
      const inSeeds = el("small", { class: "seeds" }, `steers in ${steersIn} of ${seeds.length}`);
      return [el("span", { class: `v-${look}` }, mark(look), verdict), seeds.length > 1 ? inSeeds : null];
    },
    columns: [
      column("Effect", "nats, on the concept's own words", effect, two(effect)),
      column("95% interval", "over prompts; sorts by its lower end", low, intervals, WIDE),
      column("Random", "effects of random directions: mean and deviation", mean, random, WIDE),
      column("p", "of the largest effect over layers and doses, corrected over concepts", p, p.map(pValue), WIDE_UP),
      column("Layer, dose", "recommended, or else the nearest", order, places, WIDE_UP),
      column("Loss", "what plain texts lose there, nats a token", all("loss"), two(all("loss")), WIDE_UP),
      column("Ablated", "fall of its words without it at that layer, nats", all("fall"), two(all("fall")), WIDE),
    ],
    details: (i) => steeringDetails(run, i),
    tie: effect,
  });
}

/** @type {(run: Steering, index: number) => Child} */
function steeringDetails(run, index) {
  const found = run.summary[index];
  const { layer } = place(run, index);
  const breaks = run.breaksAt[index][layer];
  const numbers = pairs([
    ["t against random directions", fixed(found.t, 1)],
    ["p, corrected", pValue(found.p)],
    ["prompts that move the wrong way", percent(found.wrongWay)],
    ["rank correlation with the dose", fixed(run.spearman[index][layer], 2)],
    ["breaks from dose", known(breaks) ? doseName(breaks) : "none of these"],
  ]);
  const around = pairs([
    ["plain texts lose, nats a token", signed(found.loss)],
    ["with random directions", signed(found.randomLoss)],
    ["divergence (KL), nats a token", fixed(found.kl, 2)],
    ["readout of a later layer, z", signed(found.reads, 1)],
    ["its part beyond the added vector", signed(found.readsBeyond, 1)],
    ["fall when taken out, nats", signed(found.fall)],
    ["its p, corrected", pValue(found.fallP)],
  ]);
  return [
    el("p", {}, found.reason),
    el(
      "div",
      { class: "facets" },
      facet(`At layer ${found.layer}, dose ${doseName(found.dose)}`, numbers),
      facet("Around it", around),
      facet("Words that are counted", found.words.length ? chips(found.words) : empty("none of its own")),
    ),
  ];
}
