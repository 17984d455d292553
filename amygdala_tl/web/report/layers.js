// Separation by layer: every concept as a faint line, their mean, and one chosen concept with its interval.

/** @import { Diagnosis, Measure } from "./types.d.ts" */
import { addConceptPicker, changer, field, picker } from "../controls.js";
import { byId, el, legendItem, scrolling, smallTable } from "../dom.js";
import { fixed, range } from "../numbers.js";
import { axis, band, clip, colour, errorBars, figure, heading, level, note, plot, trace, upright } from "../plots.js";

/** @type {[Measure, string][]} */
const MEASURES = [
  ["auroc", "AUROC"],
  ["dPrime", "d\u2032 (deviations apart)"],
  ["fisher", "Fisher ratio"],
];

/** @param {Diagnosis} diagnosis */
export function showLayers({ concepts, quality, byLayer, evaluation }) {
  const { layers, metrics, of, nPositive, nNegative } = byLayer;
  const scores = evaluation.auroc.value.map((value) => value ?? -1);
  /** @type {{ measure: Measure, concept: number }} */
  const state = { measure: "auroc", concept: scores.indexOf(Math.max(...scores)) };
  const change = changer(state, draw);
  const node = el("div", {
    role: "img",
    "aria-label": "Separation by layer; the table beside it has the chosen concept's numbers",
  });
  byId("layers-figure").append(node);
  addConceptPicker("layers-controls", concepts, state.concept, (concept) => change({ concept }));
  const measures = picker(MEASURES, state.measure, (measure) => change({ measure: /** @type {Measure} */ (measure) }));
  byId("layers-controls").append(field("Measure", measures));
  if (of === "training folds") {
    byId("layers-texts").textContent = "training texts, each scored with directions fitted without its group";
  }

  function draw() {
    const { measure, concept } = state;
    const metric = metrics[measure];
    const [value, low, high] = [metric.value, metric.low, metric.high].map((rows) => rows.map((row) => row[concept]));
    const [accent, ink, other] = ["accent", "ink", "other"].map(colour);
    const name = clip(concepts[concept], 200);
    const every = concepts.flatMap((_, index) => [...metric.value.map((row) => row[index]), null]);
    const line = (/** @type {string} */ color, width = 2.5) => ({
      mode: "lines+markers",
      line: { color, width },
      hoverinfo: "text",
    });
    const traces = [
      trace(
        concepts.flatMap(() => [...layers, null]),
        every,
        { line: { color: other, width: 1 }, opacity: concepts.length > 60 ? 0.45 : 0.8 },
      ),
      ...band(layers, low, high, `${accent}30`),
      trace(layers, metric.mean, {
        ...line(ink),
        marker: { size: 6, color: ink },
        hovertext: layers.map((layer, at) => `mean of all concepts, layer ${layer}<br>${fixed(metric.mean[at])}`),
      }),
      trace(layers, value, {
        ...line(accent),
        marker: { size: 7, color: accent },
        hovertext: layers.map((layer, at) =>
          [
            `${heading(concepts[concept])}, layer ${layer}`,
            `${fixed(value[at])} (${range(low[at], high[at])})`,
            `${nPositive[concept]} positive, ${nNegative[concept]} negative texts`,
          ].join("<br>"),
        ),
        // a band needs two layers; one alone gets whiskers
        error_y: { ...errorBars(value, low, high, accent), visible: layers.length < 2 },
      }),
    ];
    const thinned = Math.ceil((layers.length * 34) / node.clientWidth);
    const read = quality[concept].layer;
    const chance = {
      xref: "paper",
      x: 1,
      y: 0.5,
      xanchor: "right",
      yanchor: "bottom",
      text: "chance",
      bgcolor: colour("bg"),
      showarrow: false,
      font: { size: 12, color: colour("muted") },
    };
    const isAuroc = measure === "auroc";
    plot(node, traces, {
      height: node.clientWidth < 500 ? 320 : 400,
      margin: { l: 52, r: 16, t: 26, b: 44 },
      xaxis: axis({
        title: "layer",
        tickvals: layers.filter((_, at) => at % thinned === 0),
        showgrid: false,
        ticks: "outside",
      }),
      yaxis: axis({ title: new Map(MEASURES).get(measure), tickformat: ".2~f" }),
      shapes: [upright(read, accent), ...(isAuroc ? [level(0.5)] : [])],
      annotations: [
        note(read, layers[Math.floor(layers.length / 2)], `read at layer ${read}`, accent),
        ...(isAuroc ? [chance] : []),
      ],
    });
    byId("layers-legend").replaceChildren(
      legendItem("line", "accent", name),
      legendItem("line", "ink", "mean of all concepts"),
      legendItem("line", "other", "each concept"),
    );
    const rows = layers.map((layer, at) => [
      String(layer),
      fixed(value[at]),
      range(low[at], high[at]),
      fixed(metric.mean[at]),
    ]);
    const table = smallTable(["layer", "chosen", "95% interval", "mean"], rows);
    byId("layers-numbers").replaceChildren(scrolling("Numbers by layer", table));
  }
  figure(draw);
}
