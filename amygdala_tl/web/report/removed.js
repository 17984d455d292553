// Ablation: how far each concept's words fall when its direction is taken out. Python makes the figures, one a place.

/** @import { Steering } from "./types.d.ts" */
import { changer, indexField, isLong, matches, searchField } from "../controls.js";
import { byId, empty, legendItem } from "../dom.js";
import { figure } from "../plots.js";
import { rowFigure } from "../rows.js";

/** @param {Steering} run */
export function showRemoved({ concepts, ablations }) {
  if (!ablations.length) {
    byId("removed-figure").append(empty("Nothing was taken out: the check ran without the training corpus."));
    return;
  }
  const state = { at: 0, wanted: "" };
  const description = "Fall of each concept's words with its interval";
  const drawRows = rowFigure("removed-figure", "Ablations, largest fall first", description, concepts);
  const draw = () => drawRows(ablations[state.at].figure, (index) => matches(concepts[index], state.wanted));
  const change = changer(state, draw);
  const places = ablations.map(({ name }) => name);
  byId("removed-controls").append(indexField("Taken out at", places, 0, (at) => change({ at }), null));
  if (isLong(concepts)) {
    byId("removed-controls").append(searchField("Find concept", (wanted) => change({ wanted })));
  }
  byId("removed-legend").append(
    legendItem("readable", "accent", "significant"),
    legendItem("not-readable", "accent", "not significant"),
    legendItem("block", "null", "95% of random directions"),
  );
  figure(draw);
}
