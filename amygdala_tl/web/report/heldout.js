// Held-out AUROC of every concept, best first. Python makes the figure; here are its legend and filters.

/** @import { Diagnosis } from "./types.d.ts" */
import { changer, isLong, matches, searchField, verdictField } from "../controls.js";
import { byId, legendItem } from "../dom.js";
import { figure } from "../plots.js";
import { rowFigure } from "../rows.js";
import { VERDICTS, verdictLegend } from "./looks.js";

/** @param {Diagnosis} diagnosis */
export function showHeldOut({ concepts, quality, heldOut }) {
  const state = { wanted: "", verdict: "" };
  const description = "Held-out AUROC of each concept with its interval; the verdict table has the same numbers";
  const drawRows = rowFigure("heldout-figure", "Held-out scores, best first", description, concepts);
  const keep = (/** @type {number} */ i) =>
    matches(concepts[i], state.wanted) && (!state.verdict || quality[i].verdict === state.verdict);
  const draw = () => drawRows(heldOut, keep);
  const change = changer(state, draw);
  byId("heldout-legend").append(
    ...verdictLegend(quality),
    legendItem("block", "null", "reached by chance (permuted labels)"),
    legendItem("tick", "muted", "random directions"),
    legendItem("cross", "ink", "bag of words"),
  );
  if (isLong(concepts)) {
    byId("heldout-controls").append(
      searchField("Find concept", (wanted) => change({ wanted })),
      verdictField(VERDICTS, (verdict) => change({ verdict })),
    );
  }
  figure(draw);
}
