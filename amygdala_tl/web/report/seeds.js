// What the seeds of a run say of each concept, where there are several. Python makes the figure.

/** @import { Steering } from "./types.d.ts" */
import { byId, legendItem } from "../dom.js";
import { figure } from "../plots.js";
import { rowFigure } from "../rows.js";

/** @param {Steering} run */
export function showSeeds({ concepts, seedsFigure }) {
  if (!seedsFigure) return;
  byId("seeds").hidden = false;
  const description = "Effect of each concept with every seed, in deviations of random directions";
  const drawRows = rowFigure("seeds-figure", "Effects over seeds, largest mean first", description, concepts);
  byId("seeds-legend").append(
    legendItem("readable", "accent", "steers with this seed"),
    legendItem("not-readable", "accent", "does not"),
    legendItem("block", "null", "95% of random directions"),
  );
  figure(() => drawRows(seedsFigure, () => true));
}
