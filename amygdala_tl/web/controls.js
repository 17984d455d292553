// Form controls: labelled fields, lists of layers, verdicts and concepts, and search boxes.

import { byId, el } from "./dom.js";

const MANY = 24;

/** Whether a list is so long that it gets a box to filter it. @param {unknown[]} list */
export const isLong = (list) => list.length > MANY;

/**
 * A function that changes parts of a view's state and draws the view anew.
 * @template {object} State
 * @param {State} state
 * @param {() => void} draw
 */
export function changer(state, draw) {
  return (/** @type {Partial<State>} */ to) => {
    Object.assign(state, to);
    draw();
  };
}

let fields = 0;

/**
 * A control behind its name; not inside it, or a list's options would become part of the name.
 * @type {(name: string, control: HTMLElement) => HTMLElement}
 */
export function field(name, control) {
  fields += 1;
  control.id = `field-${fields}`;
  return el("div", { class: "field" }, el("label", { for: control.id }, name), control);
}

/**
 * @param {[value: string | number, text: string][]} options
 * @param {string | number} chosen
 * @param {(value: string) => void} onchange
 * @param {string | null} width `short` or `wide`
 */
export function picker(options, chosen, onchange, width = null) {
  const select = el("select", { class: width, onchange: () => onchange(select.value) });
  select.append(...options.map(([value, text]) => el("option", { value }, text)));
  select.value = String(chosen);
  return select;
}

/**
 * A list of texts that gives the index of the chosen one.
 * @param {(string | number)[]} texts
 * @param {number} chosen
 * @param {(at: number) => void} onchange
 * @param {string | null} width
 */
export const indexPicker = (texts, chosen, onchange, width = "short") =>
  picker(
    texts.map((text, at) => [at, String(text)]),
    chosen,
    (at) => onchange(Number(at)),
    width,
  );

/** The same behind a name. @type {(name: string, ...list: Parameters<typeof indexPicker>) => HTMLElement} */
export const indexField = (name, ...list) => field(name, indexPicker(...list));

/** `onchange` gets "" for all. @type {(verdicts: string[], onchange: (verdict: string) => void) => HTMLElement} */
export const verdictField = (verdicts, onchange) =>
  field("Verdict", picker([["", "all"], ...verdicts.map((name) => pair(name, name))], "", onchange));

/** @type {(name: string, oninput: (wanted: string) => void, placeholder?: string) => HTMLElement} */
export function searchField(name, oninput, placeholder = "part of a name") {
  const attributes = { type: "search", placeholder, autocomplete: "off", spellcheck: "false" };
  const box = el("input", { ...attributes, oninput: () => oninput(box.value) });
  return field(name, box);
}

/** Whether a name has a part, in any case. @type {(name: string, part: string) => boolean} */
export const matches = (name, part) => name.toLowerCase().includes(part.trim().toLowerCase());

/**
 * Append a list of concepts by name to a section's controls; a box narrows a long one and takes its first match.
 * @param {string} id of the controls
 * @param {string[]} names
 * @param {number} chosen
 * @param {(index: number) => void} onchange
 * @returns {(index: number) => void} sets the choice, without calling `onchange`
 */
export function addConceptPicker(id, names, chosen, onchange) {
  const all = names.map((name, index) => pair(index, name)).sort((a, b) => a[1].localeCompare(b[1]));
  const options = (/** @type {typeof all} */ list) => list.map(([value, name]) => el("option", { value }, name));
  const select = picker(all, chosen, (value) => onchange(Number(value)));
  const narrow = (/** @type {string} */ wanted) => {
    const found = all.filter(([, name]) => matches(name, wanted));
    const before = select.value;
    select.replaceChildren(...options(found.length ? found : all));
    const kept = !found.length || found.some(([value]) => String(value) === before);
    select.value = kept ? before : String(found[0][0]);
    if (!kept) onchange(Number(select.value));
  };
  if (isLong(names)) byId(id).append(searchField("Find concept", narrow, "type to narrow"));
  byId(id).append(field("Concept", select));
  return (index) => {
    if (select.options.length < names.length) select.replaceChildren(...options(all));
    select.value = String(index);
  };
}

/** @type {<A, B>(a: A, b: B) => [A, B]} */
const pair = (a, b) => [a, b];
