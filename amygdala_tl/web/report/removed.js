// Ablation: how far each concept's words fall when it is taken out, a figure a place that Python makes; and what probes fitted
// anew read of one concept from there on, layer by layer.

/** @import { Ablation, Steering } from "./types.d.ts" */
import { addConceptPicker, changer, indexField, isLong, matches, searchField } from "../controls.js";
import { byId, el, empty, legendItem, scrolling, smallTable } from "../dom.js";
import { fixed } from "../numbers.js";
import { axis, colour, figure, heading, level, plot, trace, upright } from "../plots.js";
import { rowFigure } from "../rows.js";
import { strongest } from "./steering.js";

/** @type {["before" | "random" | "after", string, string][]} */
const LINES = [
  ["before", "ink", "before any edit"],
  ["random", "other", "a control taken out"],
  ["after", "accent", "the concept taken out"],
];

/** @param {Steering} run */
export function showRemoved(run) {
  const { concepts, ablations } = run;
  if (!ablations.length) {
    byId("removed-figure").append(empty("Nothing was taken out: the check ran without the training corpus."));
    return;
  }
  const state = { at: 0, wanted: "", concept: strongest(run) };
  const description = "Fall of each concept's words with its interval";
  const drawRows = rowFigure("removed-figure", "Ablations, largest fall first", description, concepts);
  const drawCurve = curveFigure(run);
  const draw = () => {
    drawRows(ablations[state.at].figure, (index) => matches(concepts[index], state.wanted));
    drawCurve(ablations[state.at], state.concept);
  };
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
  addConceptPicker("curve-controls", concepts, state.concept, (concept) => change({ concept }));
  figure(draw);
}

/** Prepare the curve over layers. @type {(run: Steering) => (ablation: Ablation, concept: number) => void} */
function curveFigure({ concepts, ablations }) {
  if (!ablations.some(({ curves }) => curves.some((curve) => curve !== null))) return () => {};
  byId("curve").hidden = false;
  const node = el("div", { role: "img", "aria-label": "AUROC by layer; the table below has the numbers" });
  const nothing = empty("No probe was fitted for this concept here.");
  byId("curve-figure").append(node, nothing);
  byId("curve-legend").append(...LINES.map(([, color, text]) => legendItem("line", color, text)));

  return ({ name, curves }, concept) => {
    const curve = curves[concept];
    nothing.hidden = curve !== null;
    node.hidden = curve === null;
    byId("curve-numbers").replaceChildren();
    if (!curve) return;
    const { layers, erased } = curve;
    const traces = LINES.map(([key, color, text]) =>
      trace(layers, curve[key], {
        mode: "lines+markers",
        line: { color: colour(color), width: key === "after" ? 2.5 : 1.5 },
        marker: { size: key === "after" ? 7 : 5, color: colour(color) },
        hoverinfo: "text",
        hovertext: layers.map((layer, at) =>
          [`${heading(concepts[concept])}, layer ${layer}`, `${text}: AUROC ${fixed(curve[key][at], 2)}`].join("<br>"),
        ),
      }),
    );
    plot(node, traces, {
      height: node.clientWidth < 500 ? 300 : 360,
      margin: { l: 52, r: 16, t: 26, b: 44 },
      xaxis: axis({ title: "layer", tickformat: "d", nticks: 12, showgrid: false, ticks: "outside" }),
      yaxis: axis({ title: "AUROC", tickformat: ".2~f" }),
      shapes: [level(0.5), ...erased.filter((layer) => layer >= layers[0]).map((at) => upright(at, colour("muted")))],
      annotations: [],
    });
    const { before, random, after, unseenBefore, unseen } = curve;
    const columns = [before, random, after, unseenBefore, unseen];
    const rows = layers.map((layer, at) => [String(layer), ...columns.map((values) => fixed(values[at], 2))]);
    const head = ["layer", "before", "control", "out", "unseen before", "unseen out"];
    const label = `AUROC by layer of ${concepts[concept]}, taken out at ${name}`;
    byId("curve-numbers").replaceChildren(scrolling(label, smallTable(head, rows)));
  };
}
