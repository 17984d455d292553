// Causal cross-talk at one layer and dose: which concepts' words move when a direction is added.

/** @import { Steering } from "./types.d.ts" */
import { changer, indexField, matches, searchField } from "../controls.js";
import { byId, el } from "../dom.js";
import { matrix } from "../matrix.js";
import { fixed, MINUS, signed, unpack } from "../numbers.js";
import { figure, scaleLegend } from "../plots.js";
import { doseName, place, strongest } from "./steering.js";

const LABEL = "Effect of adding the concept of the row on the words of the column";

/** @param {Steering} run */
export function showMoves(run) {
  const { concepts, layers, doses } = run;
  const state = { ...place(run, strongest(run)), wanted: "" };
  const found = run.crosstalk.map((entry) => ({ ...entry, effect: unpack(entry.effect), p: unpack(entry.p) }));
  const status = byId("moves-status");
  const scale = el("div");
  const {
    node,
    draw: drawMatrix,
    frame,
  } = matrix({ id: "matrix-moves", label: LABEL, status: "moves-status", tip, onselect });
  byId("moves-figure").append(scale, node);
  const columns = [...concepts.keys()];

  const at = (/** @type {{ layer: number, dose: number }} */ { layer, dose }) =>
    layer === layers[state.layer] && dose === doses[state.dose];
  const now = () => found.find(at) ?? found[0];
  const rows = () => columns.filter((index) => matches(concepts[index], state.wanted));
  const shown = () => (rows().length ? rows() : columns);

  /** @param {number} i @param {number} j */
  function cell(i, j) {
    const { effect, p } = now();
    return { effect: signed(effect(i, j)), p: p(i, j) < 0.01 ? "below 0.01" : fixed(p(i, j), 2) };
  }

  /** @param {number} i @param {number} j */
  function tip(i, j) {
    const { effect, p } = cell(i, j);
    return `add ${concepts[i]}\nwords of ${concepts[j]}\n${effect} nats, p ${p}`;
  }

  /** @param {[number, number]} chosen */
  function onselect(chosen) {
    const [i, j] = [shown()[chosen[0]], columns[chosen[1]]];
    const { effect, p } = cell(i, j);
    const words = i === j ? ["its own words"] : ["the words of ", el("b", {}, concepts[j])];
    status.replaceChildren(
      "adding ",
      el("b", {}, concepts[i]),
      " moves ",
      ...words,
      ` by ${effect} nats; p against random directions ${p}, not corrected.`,
    );
    frame(chosen);
  }

  function draw() {
    const { effect, most } = now();
    const high = most || 1;
    const shownAt = `Layer ${layers[state.layer]}, dose ${doseName(doses[state.dose])}`;
    status.textContent = rows().length
      ? `${shownAt}. Point at a cell, or focus the matrix and use the arrow keys.`
      : "No concept fits: all rows are shown.";
    scale.replaceChildren(scaleLegend("h", `${MINUS}${fixed(high, 1)}`, "", `+${fixed(high, 1)} nats`));
    drawMatrix({ names: concepts, rows: shown(), columns, value: effect, low: -high, high });
  }

  const change = changer(state, draw);
  byId("moves-controls").append(
    indexField("Layer", layers, state.layer, (layer) => change({ layer })),
    indexField("Dose", doses.map(doseName), state.dose, (dose) => change({ dose })),
    searchField("Find row", (wanted) => change({ wanted })),
  );
  figure(draw);
}
