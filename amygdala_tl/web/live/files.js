// A conversation with its readouts as a JSON file.

/** @import { Message, Saved } from "./types.d.ts" */
/** @import { Scorer } from "./scores.js" */
import { el } from "../dom.js";

const FORMAT = "amygdala-tl conversation";

/** @param {string} model @param {Scorer} scorer @param {Message[]} messages */
export function save(model, { concepts, layers, unpack }, messages) {
  const plain = messages.map((message) => ({
    ...message,
    tokens: message.tokens.map(({ text, scores }) => ({ text, scores: unpack(scores) })),
  }));
  /** @type {Saved} */
  const saved = { format: FORMAT, version: 1, model, concepts, layers, messages: plain };
  const url = URL.createObjectURL(new Blob([JSON.stringify(saved)], { type: "application/json" }));
  el("a", { href: url, download: "conversation.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * The messages of a saved conversation.
 * @param {string} text
 * @param {Scorer} scorer of what is served
 * @returns {Message[]}
 */
export function read(text, { concepts, layers, pack }) {
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
  return /** @type {Saved} */ (saved).messages.map((message) => ({
    ...message,
    tokens: message.tokens.map(({ text, scores }) => ({ text, scores: pack(scores, undefined) })),
  }));
}

/** @param {Saved["messages"][number]} message */
const isMessage = ({ role, content, tokens, steer, note }) =>
  ["user", "assistant"].includes(role) &&
  [content, note].every((each) => typeof each === "string") &&
  [tokens, steer].every(Array.isArray) &&
  tokens.every(({ text, scores }) => typeof text === "string" && (scores === null || Array.isArray(scores)));
