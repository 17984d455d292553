// Generations: what the model says to one prompt with the same noise, in every dose of one concept's direction.

/** @import { Heard, Steering } from "./types.d.ts" */
import { addConceptPicker, changer, field, indexPicker } from "../controls.js";
import { byId, el, empty, visible } from "../dom.js";
import { clip } from "../plots.js";
import { doseName, strongest } from "./steering.js";

/** @param {Steering} run */
export function showSaid(run) {
  const { samples, concepts, heard } = run;
  const view = byId("said-view");
  if (!samples.length) {
    view.append(empty("Nothing was generated: the check ran without samples."));
    return;
  }
  const sampled = concepts.filter((name) => samples.some(({ concept }) => concept === name));
  const prompts = [...new Set(samples.map(({ prompt }) => prompt))];
  const state = { concept: Math.max(0, sampled.indexOf(concepts[strongest(run)])), prompt: prompts[0] };
  const change = changer(state, draw);
  addConceptPicker("said-controls", sampled, state.concept, (concept) => change({ concept }));
  const shortened = prompts.map((prompt) => clip(visible(prompt), 360, 15));
  const promptPicker = indexPicker(shortened, 0, (at) => change({ prompt: prompts[at] }), "wide");
  byId("said-controls").append(field("Prompt", promptPicker));

  function draw() {
    const name = sampled[state.concept];
    const rows = samples.filter(({ concept, prompt }) => concept === name && prompt === state.prompt);
    rows.sort((a, b) => a.dose - b.dose);
    const layers = [...new Set(rows.map(({ layer }) => layer))].sort((a, b) => a - b);
    const groups = Map.groupBy(rows, ({ layer, seed }) => `${layer} ${seed}`);
    const said = [...groups.values()].map((group) =>
      el(
        "div",
        { class: "side-by-side" },
        group.map(({ dose, seed, text, repetition }) =>
          el(
            "div",
            {},
            el("h4", {}, dose ? `dose ${doseName(dose)}` : "as it is"),
            el("p", { class: "said" }, text.trim() || "\u2205"),
            el("small", {}, `seed ${seed}${repetition > 0 ? `, ${Math.round(100 * repetition)}% repeated` : ""}`),
          ),
        ),
      ),
    );
    view.replaceChildren(
      el(
        "p",
        { class: "status", role: "status" },
        el("b", {}, name),
        ` added at layer ${layers.join(" and ")}. The model goes on from `,
        el("code", { class: "prompt" }, visible(state.prompt)),
      ),
      ...judged(heard.filter(({ concept }) => concept === name)),
      ...said,
    );
  }
  draw();
}

/**
 * What the corpus's bag of words hears in all continuations of a concept.
 *
 * @param {Heard[]} heard
 */
function judged(heard) {
  const known = heard.flatMap(({ dose, auroc, low, high }) =>
    auroc === null || low === null || high === null
      ? []
      : [`${auroc.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}] at dose ${doseName(dose)}`],
  );
  if (!known.length) return [];
  const said = "A bag of words of the corpus tells its continuations from those of the other concepts with AUROC ";
  return [el("p", { class: "say" }, `${said}${known.join(", ")}. Chance is 0.5.`)];
}
