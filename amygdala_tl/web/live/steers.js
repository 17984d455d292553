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

/** The edits that the page's controls describe. */
export function steers() {
  const box = byId("steers");
  const button = /** @type {HTMLButtonElement} */ (byId("add-steer"));
  /** @type {Steer[]} */
  let list = [];
  /** @type {{ concepts: string[], layers: number[], concept: () => string, erases: boolean }} */
  let known = { concepts: [], layers: [], concept: () => "", erases: false };

  button.addEventListener("click", () => {
    const middle = known.layers[Math.floor(known.layers.length / 2)];
    list.push({ concept: known.concept(), layer: middle, dose: 0.2, kind: "add" });
    draw();
    /** @type {HTMLElement | null} */ (box.querySelector(".steer:last-child select"))?.focus();
  });

  function draw() {
    box.replaceChildren(...list.map(form));
  }

  /** @param {Steer} steer */
  function form(steer) {
    const names = known.concepts.toSorted((a, b) => a.localeCompare(b));
    const slider = el("input", { type: "range", min: -MOST, max: MOST, step: STEP });
    slider.value = String(steer.dose);
    const dose = field("", slider);
    const label = /** @type {HTMLElement} */ (dose.firstElementChild);
    const say = () => {
      slider.disabled = steer.kind === "erase";
      label.textContent = steer.kind === "erase" ? "Dose: none" : `Dose ${signed(steer.dose, 2)}`;
    };
    slider.addEventListener("input", () => {
      steer.dose = Number(slider.value);
      say();
    });
    dose.classList.add("dose");
    say();
    const remove = () => {
      list = list.filter((each) => each !== steer);
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
        }),
      ),
      dose,
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
      list = list.filter((steer) => concepts.includes(steer.concept) && layers.includes(steer.layer));
      button.disabled = false;
      draw();
    },
    list: () => list.map((steer) => ({ ...steer })),
  };
}
