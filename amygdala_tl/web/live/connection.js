// The server: whether it is there, which readout it serves, and the key that it asks for.

import { byId, disable } from "../dom.js";
import { health, KeyNeeded, Refusal, served, setKey } from "./api.js";

/** @typedef {Awaited<ReturnType<typeof served>>} Served */

const PAUSE = 2000; // milliseconds between two looks at whether the server is there

/**
 * @param {object} page
 * @param {(found: Served) => void} page.arrived the server is there, for the first time or again
 * @param {() => boolean} page.busy an answer is on its way, which says itself when the server goes away
 */
export function connection({ arrived, busy }) {
  const status = byId("server");
  /** @type {"new" | "here" | "away" | "key"} */
  let state = "new";
  /** The key that the server asks for. @type {import("./api.js").Which} */
  let wanted = "server";

  /** @param {typeof state} now @param {string} text */
  function enter(now, text) {
    state = now;
    status.textContent = text;
    status.classList.toggle("away", state === "away");
    byId("key").hidden = state !== "key";
    for (const id of ["send", "compare"]) disable(id, state !== "here");
  }

  const away = () => enter("away", "The server does not answer. Trying again.");

  /** @param {KeyNeeded} cause */
  function askForKey(cause) {
    wanted = cause.which;
    byId("key-name").textContent = wanted === "readout" ? "Key of the readout routes" : "API key of the server";
    enter("key", cause.message);
  }

  async function connect() {
    /** @type {Served} */
    let found;
    try {
      found = await served();
    } catch (cause) {
      if (cause instanceof KeyNeeded) askForKey(cause);
      else away();
      return;
    }
    const { concepts, layers } = found.manifest;
    enter("here", `${concepts.length} concepts at layers ${layers.join(", ")}`);
    arrived(found);
  }

  async function watch() {
    if (state === "away" || state === "new") await connect();
    else if (state === "here" && !busy()) await health().catch(away);
    setTimeout(watch, PAUSE);
  }

  byId("key").addEventListener("submit", (event) => {
    event.preventDefault();
    const input = /** @type {HTMLInputElement} */ (byId("key-value"));
    setKey(wanted, input.value);
    input.value = "";
    connect();
  });

  return {
    watch,
    ready: () => state === "here",
    /** Why an answer is not whole, in a sentence. @param {unknown} cause */
    failed(cause) {
      if (cause instanceof KeyNeeded) askForKey(cause);
      if (cause instanceof KeyNeeded || cause instanceof Refusal) return cause.message;
      if (cause instanceof DOMException && cause.name === "AbortError") return "Stopped.";
      if (!(cause instanceof TypeError)) throw cause;
      away();
      return "The server went away before the answer was whole.";
    },
  };
}
