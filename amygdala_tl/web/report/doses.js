// One concept's effect by dose at every layer, beside random directions; and its effect against what it breaks.

/** @import { Effect, Steering } from "./types.d.ts" */
import { addConceptPicker, changer, field, indexPicker } from "../controls.js";
import { byId, el, legendItem, scrolling, smallTable } from "../dom.js";
import { known, pValue, range, signed, spread } from "../numbers.js";
import { axis, band, colour, errorBars, figure, heading, level, note, plot, trace, upright } from "../plots.js";
import { doseName, place, strongest } from "./steering.js";

const BAND = 1.96; // deviations of random directions that hold 95% of them

/** @param {Steering} run */
export function showDoses(run) {
  const { concepts, layers, doses, effects, mostLoss } = run;
  const first = strongest(run);
  const state = { concept: first, layer: place(run, first).layer };
  const image = (/** @type {string} */ what) =>
    el("div", { role: "img", "aria-label": `${what}; the table below has the numbers` });
  const byDose = image("Effect by dose");
  const byDamage = image("Effect against damage");
  byId("doses-figure").append(byDose);
  byId("damage-figure").append(byDamage);
  const change = changer(state, draw);
  const layerPicker = indexPicker(layers, state.layer, (layer) => change({ layer }));
  addConceptPicker("doses-controls", concepts, first, (concept) => {
    change({ concept, layer: place(run, concept).layer });
    layerPicker.value = String(state.layer);
  });
  byId("doses-controls").append(field("Layer", layerPicker));
  byId("doses-legend").append(
    legendItem("line", "accent", "the concept at this layer"),
    legendItem("line", "other", "at other layers; other concepts"),
    legendItem("block", "null", "95% of random directions"),
  );

  /** Of dose 0, where nothing happens, and of every dose. @param {Effect} name */
  const from0 = (name, concept = state.concept, layer = state.layer) => [0, ...effects[name][concept][layer]];
  const frame = (/** @type {HTMLElement} */ node) => ({
    height: node.clientWidth < 420 ? 300 : 360,
    margin: { l: 48, r: 14, t: 24, b: 44 },
    yaxis: axis({ title: "effect, nats", tickformat: ".2~f" }),
  });

  /** As the table has them, at a dose. @param {number} at */
  function numbers(at) {
    const value = (/** @type {Effect} */ name) => effects[name][state.concept][state.layer][at];
    return [
      doseName(doses[at]),
      signed(value("effect")),
      range(value("low"), value("high"), 2),
      spread(value("randomMean"), value("randomDeviation")),
      pValue(value("p")),
      signed(value("loss")),
      signed(value("randomLoss")),
    ];
  }

  /** @param {number} at */
  function hover(at) {
    const [dose, effect, interval, random, p, loss, randomLoss] = numbers(at);
    return [
      `${heading(concepts[state.concept])}, layer ${layers[state.layer]}, dose ${dose}`,
      `effect ${effect} (${interval})`,
      `random ${random}, p ${p}`,
      `plain texts lose ${loss}, with random directions ${randomLoss}`,
    ].join("<br>");
  }

  /** The line of the chosen concept. @param {number[]} x @param {object} more */
  function own(x, more) {
    const color = colour("accent");
    return trace(x, from0("effect"), {
      mode: "lines+markers",
      line: { color, width: 2.5 },
      marker: { size: x.map((_, at) => (at ? 8 : 1)), color },
      hoverinfo: "text",
      hovertext: x.map((_, at) => (at ? hover(at - 1) : "the model as it is")),
      ...more,
    });
  }

  function drawDoses() {
    const x = [0, ...doses];
    const [accent, other] = ["accent", "other"].map(colour);
    const deviation = from0("randomDeviation");
    const edge = (/** @type {number} */ sign) =>
      from0("randomMean").map((v, at) => (v ?? 0) + sign * BAND * (deviation[at] ?? 0));
    const faint = [...layers.keys()].filter((layer) => layer !== state.layer);
    const breaks = run.breaksAt[state.concept][state.layer];
    const last = doses[doses.length - 1];
    const traces = [
      ...band(x, edge(-1), edge(1), colour("null")),
      ...faint.map((layer) =>
        trace(x, from0("effect", state.concept, layer), {
          mode: "lines+markers",
          line: { color: other, width: 1.5 },
          marker: { size: 5, color: other },
          hoverinfo: "text",
          hovertext: `layer ${layers[layer]}`,
        }),
      ),
      own(x, { error_y: errorBars(from0("effect"), from0("low"), from0("high"), accent) }),
    ];
    plot(byDose, traces, {
      ...frame(byDose),
      xaxis: axis({ title: "dose", range: [0, 1.06 * last], showgrid: false, ticks: "outside" }),
      shapes: [level(0), ...(known(breaks) ? [upright(breaks, accent)] : [])],
      annotations: known(breaks) ? [note(breaks, last / 2, "breaks", accent)] : [],
    });
  }

  function drawDamage() {
    const loss = from0("loss").map((value) => value ?? 0);
    const [accent, muted] = ["accent", "muted"].map(colour);
    const others = (/** @type {Effect} */ name) => concepts.flatMap((_, index) => [...from0(name, index), null]);
    const x = others("loss");
    const all = [...loss, ...x.filter(known)];
    const most = Math.max(mostLoss, ...all);
    const traces = [
      trace(x, others("effect"), {
        line: { color: colour("other"), width: 1 },
        opacity: concepts.length > 60 ? 0.5 : 0.9,
      }),
      own(loss, {
        mode: "lines+markers+text",
        text: loss.map((_, at) => (at ? doseName(doses[at - 1]) : "")),
        textposition: "top left",
        textfont: { color: accent, size: 12 },
        cliponaxis: false,
      }),
    ];
    const range = [Math.min(0, ...all) - 0.09 * most, 1.06 * most];
    plot(byDamage, traces, {
      ...frame(byDamage),
      xaxis: axis({ title: "plain texts lose, nats a token", range, showgrid: false, ticks: "outside" }),
      shapes: [level(0), upright(mostLoss, muted)],
      annotations: [note(mostLoss, most / 2, "too much", muted)],
    });
  }

  function draw() {
    drawDoses();
    drawDamage();
    const head = ["dose", "effect", "95% interval", "random", "p", "loss", "random"];
    const rows = doses.map((_, at) => numbers(at));
    const table = smallTable(head, rows);
    byId("doses-numbers").replaceChildren(scrolling("Numbers by dose", table));
  }
  figure(draw);
}
