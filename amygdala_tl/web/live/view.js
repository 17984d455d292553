// What is shown of the scores: the choice of concept, layer and unit, and the words about one token.

/** @import { Token, View } from "./types.d.ts" */
/** @import { Scorer } from "./scores.js" */
import { addConceptPicker, field, picker } from "../controls.js";
import { byId, el, visible } from "../dom.js";
import { signed } from "../numbers.js";

/**
 * Offer the concepts, layers and units of a readout; returns what shows another chosen concept.
 * @param {Scorer} scorer
 * @param {View} view
 * @param {number} concept
 * @param {(concept: number) => void} choose
 * @param {(to: Partial<View>) => void} change
 */
export function viewControls(scorer, view, concept, choose, change) {
  const controls = byId("view-controls");
  controls.replaceChildren();
  const show = addConceptPicker("view-controls", scorer.concepts, concept, choose);
  /** @type {[number, string][]} */
  const layers = scorer.layers.map((layer, at) => [at, `layer ${layer}`]);
  if (scorer.combined) layers.unshift([-1, "all layers"]);
  const layer = picker(layers, view.layer, (chosen) => change({ layer: Number(chosen) }));
  /** @type {[string, string][]} */
  const units = scorer.calibrated
    ? [
        ["z", "z"],
        ["raw", "raw"],
      ]
    : [["raw", "raw"]];
  const unit = picker(units, view.raw ? "raw" : "z", (chosen) => change({ raw: chosen === "raw" }), "short");
  controls.append(field("Layer", layer), field("Unit", unit));
  return show;
}

/** Say how to look at a token. */
export function sayNothing() {
  byId("reading").textContent = "Point at a token, or move from token to token with the arrow keys.";
}

/** Say what a token's scores are. @type {(scorer: Scorer, view: View, token: Token, concept: number) => void} */
export function sayToken(scorer, view, { text, scores }, concept) {
  const all = scorer.concepts.map((name, index) => ({ name, score: scorer.value(scores, index, view) }));
  const known = all.filter(({ score }) => !Number.isNaN(score)).sort((a, b) => b.score - a.score);
  const strongest = known.slice(0, 4).map(({ name, score }) => `${name} ${signed(score, 1)}`);
  byId("reading").replaceChildren(
    el("code", { class: "chip" }, visible(text)),
    ` ${scorer.concepts[concept]} `,
    el("b", {}, signed(all[concept].score, 1)),
    known.length ? `. Strongest here: ${strongest.join(", ")}.` : ". Not scored.",
  );
}
