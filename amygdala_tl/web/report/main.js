// The report: a diagnosis, a run of the causal check, or both.

/** @import { PageData } from "./types.d.ts" */
import { byId } from "../dom.js";
import { followTheme, followWidth } from "../theme.js";
import { showCrosstalk } from "./crosstalk.js";
import { showDoses } from "./doses.js";
import { showHeldOut } from "./heldout.js";
import { showLayers } from "./layers.js";
import { showMap } from "./map.js";
import { showMoves } from "./moves.js";
import { showRemoved } from "./removed.js";
import { showSaid } from "./said.js";
import { showSeeds } from "./seeds.js";
import { showSteering } from "./steering.js";
import { showTexts } from "./texts.js";
import { showVerdicts } from "./verdicts.js";

/** @type {PageData} */
const { diagnosis, steering } = JSON.parse(byId("data").textContent ?? "");

followTheme();
if (diagnosis) {
  for (const show of [showVerdicts, showHeldOut, showLayers, showCrosstalk, showMap, showTexts]) show(diagnosis);
}
if (steering) for (const show of [showSteering, showSeeds, showDoses, showMoves, showRemoved, showSaid]) show(steering);
followWidth();
