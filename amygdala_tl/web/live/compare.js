// Two answers to one question: as the controls say, and with another seed or other doses.

/** @import { Steer } from "./types.d.ts" */
import { field, picker } from "../controls.js";
import { byId } from "../dom.js";

/** How an answer is generated. @typedef {{ steer: Steer[], seed?: number }} Run */

/** @param {number} by @returns {(steer: Steer[]) => Steer[]} */
const times = (by) => (steer) => steer.map((each) => ({ ...each, dose: by * each.dose }));

/** What the second answer is steered with. @type {Record<string, [name: string, steer: (steer: Steer[]) => Steer[]]>} */
const WAYS = {
  seed: ["another seed", (steer) => steer],
  none: ["no steering", () => []],
  half: ["half the doses", times(0.5)],
  opposite: ["opposite doses", times(-1)],
};

const newSeed = () => crypto.getRandomValues(new Uint16Array(1))[0];

export function comparison() {
  let way = "seed";
  return {
    /** Offer what the server can do. @param {boolean} steers */
    offer(steers) {
      const ways = Object.entries(WAYS).filter(([key]) => steers || key === "seed");
      /** @type {[string, string][]} */
      const options = ways.map(([key, [name]]) => [key, name]);
      if (!ways.some(([key]) => key === way)) way = "seed";
      const choose = (/** @type {string} */ chosen) => {
        way = chosen;
      };
      byId("compare-with").replaceChildren(field("Compare with", picker(options, way, choose)));
    },
    /**
     * Both ways to generate an answer.
     * @param {Steer[]} steer what the controls say
     * @param {number} temperature
     * @returns {[Run, Run]}
     */
    runs(steer, temperature) {
      const other = WAYS[way][1](steer);
      const seed = newSeed();
      if (way === "seed") {
        if (!temperature) throw new Error("At temperature 0 every seed gives the same answer.");
        return [
          { steer, seed },
          { steer: other, seed: seed + 1 },
        ];
      }
      if (JSON.stringify(other) === JSON.stringify(steer))
        throw new Error("Both answers would be steered alike: set a dose under Steering first.");
      return [
        { steer, seed },
        { steer: other, seed },
      ];
    },
  };
}
