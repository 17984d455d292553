// Verdicts: their order, colours and marks.

/** @import { Quality, SteeringVerdict, Verdict } from "./types.d.ts" */
import { legendItem } from "../dom.js";

/** @type {Verdict[]} */
export const VERDICTS = ["readable", "weak", "redundant", "undecided", "not readable"];

/** Steering verdict -> name of the colour and mark that it shares. @type {Record<SteeringVerdict, string>} */
export const STEERING_LOOKS = { steers: "readable", "reads only": "weak", neither: "not-readable" };

/** Name of a verdict's colour and mark. @param {Verdict} verdict */
export const slug = (verdict) => verdict.replaceAll(" ", "-");

/** Legend of the verdicts that occur. @param {Quality[]} quality */
export const verdictLegend = (quality) =>
  VERDICTS.filter((verdict) => quality.some((each) => each.verdict === verdict)).map((verdict) =>
    legendItem(slug(verdict), slug(verdict), verdict),
  );

/** Index of a layer's entry, or else of the first. @type {(entries: { layer: number }[], layer: number) => number} */
export const opening = (entries, layer) =>
  Math.max(
    0,
    entries.findIndex((entry) => entry.layer === layer),
  );
