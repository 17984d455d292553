// The strongest concepts as bars in a steady order: the token that is looked at, and the mean of recent ones as a mark.

/** @import { Token, View } from "./types.d.ts" */
/** @import { Scorer } from "./scores.js" */
import { byId, el, visible } from "../dom.js";
import { signed } from "../numbers.js";
import { mean, steadyOrder, steadyScale } from "./scores.js";

export const RECENT = 64;
const SHOWN = 12;

/** Say something that may be said already, which costs nothing then. @param {HTMLElement} node @param {string} text */
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * @param {object} act
 * @param {(concept: number) => void} act.choose colour the tokens by a concept
 * @param {(concept: number, on: boolean) => void} act.follow show a concept in the timeline, or not
 */
export function bars({ choose, follow }) {
  const box = byId("bars");
  const more = byId("all-bars");
  const which = el("span");
  const chip = el("code", { class: "chip" });
  byId("h-bars").replaceChildren(which, chip);
  /** @type {ReturnType<typeof row>[]} */
  let rows = [];
  let rank = steadyOrder();
  let scale = 0;
  let all = false;
  /** @type {() => void} */
  let again = () => {};

  more.addEventListener("click", () => {
    all = !all;
    again();
  });

  /** @param {string} name @param {number} concept @param {boolean} unread */
  function row(name, concept, unread) {
    const bar = el("i");
    const tick = el("b");
    const number = el("output", {}, "");
    const button = el("button", { type: "button", title: name, onclick: () => choose(concept) }, name);
    const box = el("input", { type: "checkbox", "aria-label": `${name} in the timeline` });
    box.addEventListener("change", () => follow(concept, box.checked));
    const track = el("div", { class: "track", "aria-hidden": "true" }, bar, tick);
    const node = el("div", { class: unread ? "bar-row unread" : "bar-row" }, button, track, number, box);
    return { node, bar, tick, number, button, box };
  }

  return {
    /** Make a row for every concept. @param {Scorer} scorer */
    reset({ concepts, unread }) {
      rows = concepts.map((name, concept) => row(name, concept, unread[concept]));
      [rank, scale] = [steadyOrder(), 0];
      more.hidden = concepts.length <= SHOWN;
    },
    /** Another unit or layer has another order and scale. */
    turn() {
      [rank, scale] = [steadyOrder(), 0];
    },
    /**
     * @param {Scorer} scorer
     * @param {View} view
     * @param {Token | null} looked the token that is looked at; null for the latest
     * @param {Token[]} recent
     * @param {number} concept
     * @param {number[]} followed
     */
    draw(scorer, view, looked, recent, concept, followed) {
      again = () => this.draw(scorer, view, looked, recent, concept, followed);
      const token = looked ?? recent.at(-1);
      const now = token?.scores ?? null;
      put(which, looked ? "Strongest concepts at " : "Strongest concepts at the latest token ");
      put(chip, token ? visible(token.text) : "");
      chip.hidden = !token?.text;
      const [middle, n] = mean(recent.map(({ scores }) => scores));
      const means = scorer.concepts.map((_, at) => scorer.value(middle, at, view, n));
      const values = scorer.concepts.map((_, at) => scorer.value(now, at, view));
      const known = (/** @type {number[]} */ list) => list.filter(Number.isFinite).map(Math.abs);
      scale = steadyScale(scale, Math.max(0, ...known(means), ...known(values)));
      const order = rank(means.map((value) => (Number.isFinite(value) ? value : 0)));
      const shown = all ? order : order.slice(0, SHOWN);
      if (!shown.includes(concept)) shown.push(concept);
      for (const at of shown) {
        const { bar, tick, number, button, box } = rows[at];
        const value = values[at];
        const length = (/** @type {number} */ of) => `${Math.min(100, (100 * Math.abs(of)) / scale)}%`;
        bar.style.width = Number.isFinite(value) ? length(value) : "0";
        bar.className = value < 0 ? "below" : "";
        tick.hidden = !(means[at] >= 0);
        tick.style.left = tick.hidden ? "0" : `min(${length(means[at])}, 100% - 2px)`;
        put(number, signed(value, Math.abs(value) < 100 ? 1 : 0));
        button.setAttribute("aria-pressed", String(at === concept));
        box.checked = followed.includes(at);
      }
      const nodes = shown.map((at) => rows[at].node);
      // Moving a row takes the focus from it, so only an order that has changed is put in place.
      if (nodes.length !== box.children.length || nodes.some((node, at) => box.children[at] !== node)) {
        const focused = document.activeElement;
        box.replaceChildren(...nodes);
        if (focused instanceof HTMLElement && box.contains(focused)) focused.focus({ preventScroll: true });
      }
      put(more, all ? "Show the strongest" : `Show all ${scorer.concepts.length}`);
      more.setAttribute("aria-expanded", String(all));
    },
  };
}
