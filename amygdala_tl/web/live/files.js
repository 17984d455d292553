// A conversation with its readouts as a JSON file.

/** @import { Conversation, Message, Saved, SavedMessage } from "./types.d.ts" */
/** @import { Scorer } from "./scores.js" */
import { el } from "../dom.js";

const FORMAT = "amygdala-tl conversation";

/** @param {string} model @param {Scorer} scorer @param {Conversation} conversation */
export function save(model, { concepts, layers, unpack }, { name, messages, other }) {
  /** @type {(message: Message) => SavedMessage} */
  const plain = (message) => ({
    ...message,
    tokens: message.tokens.map(({ text, scores }) => ({ text, scores: unpack(scores) })),
  });
  /** @type {Saved} */
  const saved = {
    format: FORMAT,
    version: 1,
    model,
    name,
    concepts,
    layers,
    messages: messages.map(plain),
    other: other && plain(other),
  };
  const url = URL.createObjectURL(new Blob([JSON.stringify(saved)], { type: "application/json" }));
  el("a", { href: url, download: "conversation.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * What a saved conversation holds.
 * @param {string} text
 * @param {Scorer} scorer of what is served
 * @returns {Omit<Conversation, "salt">}
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
  const { name = "", messages, other = null } = /** @type {Saved} */ (saved);
  if (typeof name !== "string" || ![...messages, ...(other ? [other] : [])].every(isMessage))
    throw new Error("The file is damaged.");
  /** @type {(message: SavedMessage) => Message} */
  const packed = (message) => ({
    ...message,
    tokens: message.tokens.map(({ text, scores }) => ({ text, scores: pack(scores, undefined) })),
  });
  return { name, messages: messages.map(packed), other: other && packed(other) };
}

/** @param {SavedMessage} message */
const isMessage = ({ role, content, tokens, steer, note }) =>
  ["user", "assistant"].includes(role) &&
  [content, note].every((each) => typeof each === "string") &&
  [tokens, steer].every(Array.isArray) &&
  tokens.every(({ text, scores }) => typeof text === "string" && (scores === null || Array.isArray(scores)));
