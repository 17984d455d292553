// Cross-talk at one layer: two matrices with one cursor, and what a cell means in words.

/** @import { Diagnosis } from "./types.d.ts" */
import { changer, field, indexField, matches, picker, searchField } from "../controls.js";
import { byId, el, empty } from "../dom.js";
import { matrix } from "../matrix.js";
import { fixed, MINUS, signed, unpack } from "../numbers.js";
import { clip, figure, scaleLegend } from "../plots.js";
import { opening } from "./looks.js";
import { listWarnings } from "./warnings.js";

/** @type {["cosine" | "auroc", title: string, name: string, low: number, middle: string][]} */
const KINDS = [
  ["cosine", "Cosine of the directions", "cosine", -1, "(0: unrelated)"],
  ["auroc", "AUROC of readout (row) on label (column)", "AUROC", 0, "(0.5: no answer)"],
];

/** @param {Diagnosis} diagnosis */
export function showCrosstalk({ concepts, crosstalk, commonLayer }) {
  if (!crosstalk.length) {
    byId("crosstalk-figures").append(empty("No cross-talk was computed."));
    return;
  }
  const found = crosstalk.map((entry) => ({
    ...entry,
    cosine: unpack(entry.cosine),
    auroc: unpack(entry.auroc),
    labels: unpack(entry.labelCorrelation),
  }));
  const state = { at: opening(found, commonLayer), wanted: "", cluster: "" };
  const change = changer(state, draw);
  const now = () => found[state.at];
  const clusterField = el("span");
  const status = byId("crosstalk-status");

  const matrices = KINDS.map(([key, title, name, low, middle]) => {
    const tip = (/** @type {number} */ i, /** @type {number} */ j) =>
      `${concepts[i]} \u00d7 ${concepts[j]}\n${name} ${fixed(now()[key](i, j), 2)}\n${texts(j)}`;
    const drawn = matrix({ id: `matrix-${key}`, label: title, status: "crosstalk-status", tip, onselect });
    const legend = scaleLegend("h", low ? `${MINUS}1` : "0", middle, "1");
    byId("crosstalk-figures").append(el("div", {}, el("h3", {}, title), legend, drawn.node));
    return { key, low, ...drawn };
  });

  /** @param {number} j */
  function texts(j) {
    const { nPositive, nNegative } = now();
    return `${nPositive[j]} positive text${nPositive[j] === 1 ? "" : "s"}, ${nNegative[j]} negative`;
  }

  /** Rows and columns that the filters leave; all rows where none fits. */
  function axes() {
    const { order, cluster } = now();
    const columns = order.filter((index) => !state.cluster || String(cluster[index]) === state.cluster);
    const rows = columns.filter((index) => matches(concepts[index], state.wanted));
    return { columns, rows: rows.length ? rows : columns, fits: rows.length > 0 };
  }

  /** @param {[number, number]} cell */
  function onselect(cell) {
    const { rows, columns } = axes();
    const [i, j] = [rows[cell[0]], columns[cell[1]]];
    const { cosine, auroc, labels } = now();
    status.replaceChildren(
      el("b", {}, `readout ${concepts[i]}`),
      " on texts labelled ",
      el("b", {}, concepts[j]),
      `: AUROC ${fixed(auroc(i, j), 2)} (${texts(j)}). `,
      `Cosine of the two directions ${fixed(cosine(i, j), 2)}; the labels correlate ${signed(labels(i, j))}.`,
    );
    for (const each of matrices) each.frame(cell);
  }

  function listClusters() {
    const { cluster, order } = now();
    const members = Map.groupBy(order, (index) => cluster[index]);
    const named = [...members].filter(([, list]) => list.length > 1);
    const options = named.map(([number, list]) => {
      const names = clip(list.map((index) => concepts[index]).join(", "), 220);
      return /** @type {[number, string]} */ ([number, `${names} (${list.length})`]);
    });
    const list = picker([["", "all"], ...options], "", (cluster) => change({ cluster }));
    clusterField.replaceChildren(field("Cluster", list));
  }

  function draw() {
    const { columns, rows, fits } = axes();
    const { layer, cluster } = now();
    status.textContent = fits
      ? `Layer ${layer}. Point at a cell, or focus a matrix and use the arrow keys.`
      : "No concept fits: all rows are shown.";
    for (const { key, low, draw: drawMatrix } of matrices) {
      drawMatrix({ names: concepts, rows, columns, value: now()[key], low, high: 1, cluster });
    }
    listWarnings(crosstalk[state.at]);
  }

  const layers = found.map(({ layer }) => layer);
  const openLayer = (/** @type {number} */ at) => {
    change({ at, cluster: "" });
    listClusters();
  };
  byId("crosstalk-controls").append(
    indexField("Layer", layers, state.at, openLayer),
    clusterField,
    searchField("Find row", (wanted) => change({ wanted })),
  );
  listClusters();
  figure(draw);
}
