// Two answers to one question: as the controls say, and with another seed or other doses.

/** @import { Steer } from "./types.d.ts" */
import { field, picker } from "../controls.js";
import { byId } from "../dom.js";

/** How an answer is generated. @typedef {{ steer: Steer[], seed?: number }} Run */

/** @type {Record<string, string>} */
const WAYS = { seed: "another seed", doses: "other doses", none: "no steering" };

const newSeed = () => crypto.getRandomValues(new Uint16Array(1))[0];

/** @param {(on: boolean) => void} doses offer the second answer's doses, or not */
export function comparison(doses) {
  let way = "seed";
  return {
    /** Offer what the server can do. @param {boolean} steers */
    offer(steers) {
      const ways = Object.entries(WAYS).filter(([key]) => steers || key === "seed");
      if (!ways.some(([key]) => key === way)) way = "seed";
      const choose = (/** @type {string} */ chosen) => {
        way = chosen;
        doses(way === "doses");
      };
      choose(way);
      byId("compare-with").replaceChildren(field("Compare with", picker(ways, way, choose)));
    },
    /**
     * Both ways to generate an answer.
     * @param {Steer[]} steer what the controls say
     * @param {Steer[]} second the same with the second answer's doses
     * @param {number} temperature
     * @returns {[Run, Run]}
     */
    runs(steer, second, temperature) {
      const other = way === "doses" ? second : [];
      const seed = newSeed();
      if (way === "seed") {
        if (!temperature) throw new Error("At temperature 0 every seed gives the same answer.");
        return [
          { steer, seed },
          { steer, seed: seed + 1 },
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
