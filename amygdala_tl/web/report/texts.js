// The text browser: one text, its tokens coloured by the z-score of a concept, over all layers or at one.

/** @import { Diagnosis } from "./types.d.ts" */
import { addConceptPicker, changer, field, indexField, indexPicker } from "../controls.js";
import { byId, el, empty, visible } from "../dom.js";
import { DASH, MINUS, signed, unpack } from "../numbers.js";
import { clip, scaleLegend } from "../plots.js";
import { colourSpan, stepTo, tokenOf, tokenSpan } from "../tokens.js";

/** @param {Diagnosis} diagnosis */
export function showTexts({ concepts, layers, texts, commonLayer }) {
  const view = byId("texts-view");
  if (!texts.length) {
    view.append(empty("No texts to show: the report was made without the model."));
    return;
  }
  const all = texts.map((text) => ({ ...text, z: unpack(text.z) }));
  const overAll = texts[0].z.shape[1] > layers.length;
  const levels = overAll ? ["all layers", ...layers] : layers;
  const state = {
    text: 0,
    token: 0,
    layer: overAll ? 0 : Math.max(0, layers.indexOf(commonLayer)),
    concept: Math.max(0, concepts.indexOf(all[0].labels[0])),
  };
  const change = changer(state, paint);
  const titles = texts.map(({ tokens, labels }, at) => {
    const beginning = clip(tokens.slice(0, 40).join("").trim(), 300, 15);
    return `${at + 1}. ${beginning}${labels.length ? ` [${labels.join(", ")}]` : ""}`;
  });
  const textPicker = indexPicker(titles, 0, openText, "wide");
  const button = (/** @type {string} */ name, /** @type {() => void} */ onclick) =>
    el("button", { type: "button", onclick }, name);
  const previous = button("Previous", () => openText(state.text - 1));
  const next = button("Next", () => openText(state.text + 1));
  byId("texts-controls").append(field("Text", textPicker), el("div", { class: "steps" }, previous, next));
  const setConcept = addConceptPicker("texts-controls", concepts, state.concept, (concept) => change({ concept }));
  const width = overAll ? null : "short";
  byId("texts-controls").append(indexField("Layer", levels, state.layer, (layer) => change({ layer }), width));

  const labels = el("div", { class: "labels" });
  const reading = el("p", { class: "reading", role: "status" });
  const body = el("div", {
    class: "text",
    role: "group",
    "aria-label": "Tokens of the text; arrow keys move from token to token",
    onkeydown: walk,
    onfocusin: lookAtTarget,
    onpointerover: lookAtTarget,
    onclick: (/** @type {Event} */ event) => tokenOf(event)?.focus({ preventScroll: true }),
  });
  const sink = [el("span", { class: "none" }, "not scored"), el("span", {}, "(attention sink)")];
  const legend = scaleLegend("t", `${MINUS}4 or less`, "", "+4 or more", "z");
  view.append(el("div", { class: "scale" }, legend, sink), labels, reading, body);

  /** @param {number} at */
  function openText(at) {
    state.text = Math.min(Math.max(at, 0), all.length - 1);
    textPicker.value = String(state.text);
    previous.disabled = state.text === 0;
    next.disabled = state.text === all.length - 1;
    const { tokens, labels: positive, id, z } = all[state.text];
    body.replaceChildren(...tokens.map((token, index) => tokenSpan(token, index)));
    body.scrollTop = 0;
    state.token = Math.max(
      0,
      tokens.findIndex((_, index) => !Number.isNaN(z(index, state.layer, state.concept))),
    );
    labels.replaceChildren(
      positive.length ? "labelled" : "positive for none of the concepts",
      ...positive.map((name) => button(name, () => choose(name))),
      el("code", { title: id }, id.slice(0, 12)),
    );
    paint();
  }

  /** @param {string} name */
  function choose(name) {
    const concept = concepts.indexOf(name);
    if (concept < 0) return;
    setConcept(concept);
    change({ concept });
  }

  const spans = () => /** @type {HTMLElement[]} */ ([...body.children]);

  function paint() {
    const { z } = all[state.text];
    for (const [at, span] of spans().entries()) {
      colourSpan(span, z(at, state.layer, state.concept));
    }
    look(state.token);
  }

  /** Say what a token scores. @param {number} at */
  function look(at) {
    const list = spans();
    list[state.token]?.setAttribute("tabindex", "-1");
    list[state.token]?.classList.remove("at");
    state.token = at;
    list[at].setAttribute("tabindex", "0");
    list[at].classList.add("at");
    const { z } = all[state.text];
    const here = concepts.map((name, index) => ({ name, value: z(at, state.layer, index) }));
    const scored = here.filter(({ value }) => !Number.isNaN(value)).sort((a, b) => b.value - a.value);
    const strongest = scored.slice(0, 4).map(({ name, value }) => `${clip(name, 180)} ${signed(value, 1)}`);
    reading.replaceChildren(
      el("code", { class: "chip" }, visible(all[state.text].tokens[at])),
      ` ${concepts[state.concept]}, ${overAll && !state.layer ? "" : "layer "}${levels[state.layer]}: z = `,
      el("b", {}, shown(here[state.concept].value)),
      scored.length
        ? `. Strongest here: ${strongest.join(", ")}.`
        : ". This token is an attention sink and has no score.",
    );
  }

  /** @param {Event} event */
  function lookAtTarget(event) {
    const token = tokenOf(event);
    if (token) look(Number(token.dataset.at));
  }

  /** @param {KeyboardEvent} event */
  function walk(event) {
    const list = spans();
    const target = stepTo(event.key, list, state.token);
    if (target === null) return;
    event.preventDefault();
    list[target].focus();
  }

  openText(0);
}

/** @param {number} z packed bytes end at 12.7 */
function shown(z) {
  if (Number.isNaN(z)) return DASH;
  return Math.abs(z) > 12.65 ? `${z > 0 ? "+" : MINUS}12.7 or beyond` : signed(z, 1);
}
