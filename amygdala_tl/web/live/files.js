// A conversation with its readouts as a JSON file.

/** @import { Message, Saved } from "./types.d.ts" */
import { el } from "../dom.js";

const FORMAT = "amygdala-tl conversation";

/** @param {string} model @param {string[]} concepts @param {number[]} layers @param {Message[]} messages */
export function save(model, concepts, layers, messages) {
  /** @type {Saved} */
  const saved = { format: FORMAT, version: 1, model, concepts, layers, messages };
  const url = URL.createObjectURL(new Blob([JSON.stringify(saved)], { type: "application/json" }));
  el("a", { href: url, download: "conversation.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * The messages of a saved conversation.
 * @param {string} text
 * @param {string[]} concepts that are served
 * @param {number[]} layers
 * @returns {Message[]}
 */
export function read(text, concepts, layers) {
  let saved;
  try {
    saved = JSON.parse(text);
  } catch {
    throw new Error("The file is not JSON.");
  }
  if (saved?.format !== FORMAT || saved.version !== 1 || !Array.isArray(saved.messages))
    throw new Error("The file is no saved conversation.");
  if (String(saved.concepts) !== String(concepts) || String(saved.layers) !== String(layers))
    throw new Error("The conversation was read with other concepts or layers than this server's.");
  if (!saved.messages.every(isMessage)) throw new Error("The file is damaged.");
  return saved.messages;
}

/** @param {Message} message */
const isMessage = ({ role, content, tokens, steer, note }) =>
  ["user", "assistant"].includes(role) &&
  [content, note].every((each) => typeof each === "string") &&
  [tokens, steer].every(Array.isArray) &&
  tokens.every(({ text, scores }) => typeof text === "string" && (scores === null || Array.isArray(scores)));
