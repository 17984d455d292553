// What a row of the verdict table opens to: the reason, all numbers, suspicious labels, neighbours, neuron and tokens.

/** @import { Child } from "../dom.js" */
/** @import { Diagnosis, Quality } from "./types.d.ts" */
import { chips, el, empty, pairs, smallTable } from "../dom.js";
import { DASH, fixed, percent, pValue, range } from "../numbers.js";

/** A titled part of what a row opens to. @param {string} title @param {Child} content */
export const facet = (title, content) => el("div", { class: "facet" }, el("h4", {}, title), content);

/** @param {Diagnosis} diagnosis @param {number} index @returns {Child} */
export function conceptDetails({ quality, evaluation }, index) {
  const { auroc, averagePrecision, nPositive, nNegative, ...scores } = evaluation;
  const { neuron, nearest, outliers, tokensUp, tokensDown, ...found } = quality[index];
  const heldOut = pairs([
    ["held-out AUROC", fixed(auroc.value[index])],
    ["its 95% interval", range(auroc.low[index], auroc.high[index])],
    ["null of permuted labels", fixed(scores.permutationNull[index])],
    ["null of random directions", fixed(scores.randomNull[index])],
    ["p, corrected", pValue(scores.p[index])],
    ["bag of words", fixed(scores.bagOfWords[index])],
    ["token embeddings", fixed(scores.embedding[index])],
    ["average precision", fixed(averagePrecision.value[index])],
    ["its 95% interval", range(averagePrecision.low[index], averagePrecision.high[index])],
    ["held-out texts, pos. / neg.", `${nPositive[index]} / ${nNegative[index]}`],
  ]);
  const direction = pairs([
    ["read at layer", String(found.layer)],
    ["cosine of two halves' directions", fixed(found.splitHalfCosine, 2)],
    ["agreement of positive texts", fixed(found.agreement, 2)],
    ["variance on first component", percent(found.firstPcShare)],
    ["effective dimension", fixed(found.effectiveDimension, 1)],
    ["nearest MLP neuron", neuron ? `layer ${neuron.layer}, ${neuron.index}` : DASH],
    ["its cosine", neuron ? fixed(neuron.cosine, 2) : DASH],
  ]);
  const neighbours = pairs(nearest.map(([name, cosine]) => [name, fixed(cosine, 2)]));
  return [
    el("p", {}, found.reason),
    el(
      "div",
      { class: "facets" },
      facet("On held-out texts", heldOut),
      facet("The direction", direction),
      el(
        "div",
        {},
        facet("Nearest concepts, by cosine", nearest.length ? neighbours : empty("no other concept")),
        tokensUp.length ? facet("Raises the logits of", chips(tokensUp)) : null,
        tokensDown.length ? facet("Lowers the logits of", chips(tokensDown)) : null,
      ),
    ),
    outliers.length ? facet("Labels that the other texts contradict", outlierTable(outliers)) : null,
  ];
}

/** @param {Quality["outliers"]} outliers */
function outlierTable(outliers) {
  const rows = outliers.map(({ text, words, labelled, z }) => {
    const id = el("code", { title: text }, text.slice(0, 12));
    return [fixed(z, 1), labelled, [`${words}\u2026 `, id]];
  });
  const table = smallTable(["z", "labelled", "text, id"], rows, [1, 2]);
  table.classList.add("outliers");
  return table;
}
