// From scores to steps of the colours, and the legend that says how large a step is.

import { byId } from "../dom.js";
import { MINUS, signed } from "../numbers.js";
import { scaleLegend } from "../plots.js";
import { steadyScale } from "./scores.js";

const STEPS = 4; // from 0 to the strongest colour

/** Colours reach four deviations for z. Raw scores have no such unit: the strongest colour is about their largest. */
export function colours() {
  let [step, largest] = [1, 0];
  return {
    /** @param {number} score */
    steps: (score) => score / step,
    /** Take scores into account. @param {number[]} scores @returns {boolean} whether a step is another one now */
    stretch(scores) {
      const before = step;
      for (const score of scores) {
        const size = Math.abs(score);
        if (size > largest && Number.isFinite(size)) largest = size;
      }
      step = steadyScale(STEPS * step, largest) / STEPS;
      return step !== before;
    },
    /** Begin anew, with these raw scores; null for z. @param {number[] | null} scores */
    reset(scores) {
      [step, largest] = [scores ? 0 : 1, 0];
      if (scores) this.stretch(scores);
      const [end, unit] = [signed(STEPS * step, step < 1 ? 2 : 0), scores ? "raw score" : "z"];
      byId("scale").replaceChildren(scaleLegend("t", `${end.replace("+", MINUS)} or less`, "", `${end} or more`, unit));
    },
  };
}
