// Edits of the next answers: a concept, a layer, what to do, and how much.

/** @import { Steer } from "./types.d.ts" */
import { field, picker } from "../controls.js";
import { byId, el } from "../dom.js";
import { signed } from "../numbers.js";

const MOST = 0.6;
const STEP = 0.05;
/** @type {(erases: boolean) => [Steer["kind"], string][]} */
const kinds = (erases) => [
  ["add", "add"],
  ["clamp", "set to"],
  ["erase", erases ? "erase" : "project out (a new probe still reads it)"],
];

/** An edit, and its dose in the second of two answers. @typedef {{ first: Steer, second: number }} Edit */

/** A slider for a dose, and what says it again. @type {(name: string, value: number, steer: Steer, set: (dose: number) => void) => [HTMLElement, () => void]} */
function doseSlider(name, value, steer, set) {
  const slider = el("input", { type: "range", min: -MOST, max: MOST, step: STEP });
  slider.value = String(value);
  const control = field("", slider);
  control.classList.add("dose");
  const say = () => {
    slider.disabled = steer.kind === "erase";
    const label = /** @type {HTMLElement} */ (control.firstElementChild);
    label.textContent = steer.kind === "erase" ? `${name}: none` : `${name} ${signed(Number(slider.value), 2)}`;
  };
  slider.addEventListener("input", () => {
    set(Number(slider.value));
    say();
  });
  say();
  return [control, say];
}

/** The edits that the page's controls describe. */
export function steers() {
  const box = byId("steers");
  const button = /** @type {HTMLButtonElement} */ (byId("add-steer"));
  /** @type {Edit[]} */
  let list = [];
  /** @type {{ concepts: string[], layers: number[], concept: () => string, erases: boolean }} */
  let known = { concepts: [], layers: [], concept: () => "", erases: false };

  button.addEventListener("click", () => {
    const middle = known.layers[Math.floor(known.layers.length / 2)];
    list.push({ first: { concept: known.concept(), layer: middle, dose: 0.2, kind: "add" }, second: 0 });
    draw();
    /** @type {HTMLElement | null} */ (box.querySelector(".steer:last-child select"))?.focus();
  });

  function draw() {
    box.replaceChildren(...list.map(form));
  }

  /** @param {Edit} edit */
  function form(edit) {
    const steer = edit.first;
    const names = known.concepts.toSorted((a, b) => a.localeCompare(b));
    const [dose, say] = doseSlider("Dose", steer.dose, steer, (chosen) => {
      steer.dose = chosen;
    });
    const [second, sayAgain] = doseSlider("Dose of answer B", edit.second, steer, (chosen) => {
      edit.second = chosen;
    });
    second.classList.add("second");
    const remove = () => {
      list = list.filter((each) => each !== edit);
      draw();
      button.focus();
    };
    const pairs = (/** @type {string[]} */ values) =>
      values.map((value) => /** @type {[string, string]} */ ([value, value]));
    return el(
      "fieldset",
      { class: "steer", "aria-label": `Steer ${steer.concept}` },
      field(
        "Concept",
        picker(pairs(names), steer.concept, (concept) => Object.assign(steer, { concept })),
      ),
      field(
        "Layer",
        picker(pairs(known.layers.map(String)), steer.layer, (layer) => Object.assign(steer, { layer: Number(layer) })),
      ),
      field(
        "Edit",
        picker(kinds(known.erases), steer.kind, (kind) => {
          Object.assign(steer, { kind });
          say();
          sayAgain();
        }),
      ),
      dose,
      second,
      el("button", { type: "button", onclick: remove }, "Remove"),
    );
  }

  return {
    /**
     * @param {string[]} concepts
     * @param {number[]} layers
     * @param {() => string} concept that a new edit begins with
     * @param {boolean} erases whether the server's bundle can erase
     */
    reset(concepts, layers, concept, erases) {
      known = { concepts, layers, concept, erases };
      list = list.filter(({ first }) => concepts.includes(first.concept) && layers.includes(first.layer));
      button.disabled = false;
      draw();
    },
    list: () => list.map(({ first }) => ({ ...first })),
    /** The same with the doses of the second of two answers. */
    second: () => list.map(({ first, second }) => ({ ...first, dose: second })),
    /** Show the sliders of the second answer's doses, or not. @param {boolean} on */
    offerSecond: (on) => box.classList.toggle("two", on),
  };
}
