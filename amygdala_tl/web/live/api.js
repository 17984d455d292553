// Requests to the server that the page comes from. A key stays in this tab.

/** @import { Chunk, Manifest, Message, Steer } from "./types.d.ts" */

/** Where the server's routes begin: the page of a vLLM server is at `readout/` below them. */
const ROOT = location.pathname.replace(/(readout\/)?$/, "");
const OWN_KEY = "readout_key";

/** Which key a route asks for: the server's, or that of the readout routes. @typedef {"server" | "readout"} Which */

/** The server wants a key, or another one. */
export class KeyNeeded extends Error {
  /** @param {Which} which */
  constructor(which) {
    super(which === "readout" ? "The readout routes ask for their own key." : "The server asks for an API key.");
    this.which = which;
  }
}

/** The server refuses a request, and says why. */
export class Refusal extends Error {}

const nameOf = (/** @type {Which} */ which) => `amygdala-key-${which}`;

/** @param {Which} which @param {string} key */
export function setKey(which, key) {
  sessionStorage.setItem(nameOf(which), key);
}

/** @param {string} path below the root @param {RequestInit} options */
async function ask(path, options = {}) {
  const own = path.startsWith("v1/readout/") ? sessionStorage.getItem(nameOf("readout")) : null;
  const key = own ?? sessionStorage.getItem(nameOf("server"));
  const headers = { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const answer = await fetch(ROOT + path, { ...options, headers, cache: "no-store" });
  if (answer.status === 401) throw new KeyNeeded((await answer.json()).error?.code === OWN_KEY ? "readout" : "server");
  if (!answer.ok) throw new Refusal(await reason(answer));
  return answer;
}

/** @param {Response} answer */
async function reason(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `The server answers with HTTP ${answer.status}.`;
  }
}

/** The served readout, the server's name for its model, whether it steers and erases, and a mark that changes with either name. */
export async function served() {
  const text = await (await ask("v1/readout/manifest")).text();
  const [said] = (await (await ask("v1/models")).json()).data;
  const [model, steers, erases] = [/** @type {string} */ (said.id), said.steers === true, said.erases === true];
  const manifest = /** @type {Manifest} */ (JSON.parse(text));
  return { manifest, model, steers, erases, mark: digest(`${model}\n${text}`) };
}

/** A short mark of a text, by FNV-1a over two words; the browser's own digests need HTTPS. @param {string} text */
function digest(text) {
  let [one, two] = [0x811c9dc5, 0x050c5d1f];
  for (let at = 0; at < text.length; at += 1) {
    one = Math.imul(one ^ text.charCodeAt(at), 0x01000193);
    two = Math.imul(two ^ text.charCodeAt(at), 0x01000193) + at;
  }
  return [one, two].map((word) => (word >>> 0).toString(16)).join("-");
}

/** Resolve if the server is there. */
export const health = () => ask("health");

/**
 * Generate an answer, chunk by chunk.
 * @param {object} said
 * @param {Pick<Message, "role" | "content">[]} said.messages
 * @param {Steer[]} [said.steer]
 * @param {number} [said.seed]
 * @param {string} said.cache_salt keeps the server from taking the conversation from another one's cache, which has no scores
 * @param {number} said.temperature
 * @param {number} said.max_tokens
 * @param {AbortSignal} signal ends it
 */
export async function* chat(said, signal) {
  const body = JSON.stringify({ ...said, stream: true, return_tokens: true });
  const answer = await ask("v1/chat/completions", { method: "POST", body, signal });
  const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
  const decoder = new TextDecoder();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new TypeError("The answer broke off.");
    const events = (waiting + decoder.decode(value, { stream: true })).split("\n\n");
    waiting = /** @type {string} */ (events.pop());
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const chunk = /** @type {Chunk} */ (JSON.parse(data));
      if (chunk.error) throw new Refusal(chunk.error.message);
      yield chunk;
    }
  }
}
