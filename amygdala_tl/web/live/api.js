// Requests to the server that the page comes from. A key stays in this tab.

/** @import { Chunk, Manifest, Message, Steer } from "./types.d.ts" */

const KEY = "amygdala-key";

/** The server wants a key, or another one. */
export class KeyNeeded extends Error {}

/** The server refuses a request, and says why. */
export class Refusal extends Error {}

/** @param {string} key */
export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** @param {string} path @param {RequestInit} options */
async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (answer.status === 401) throw new KeyNeeded("The server asks for an API key.");
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

/** The served readout, the server's name for its model, and a mark that changes with either. */
export async function served() {
  const text = await (await ask("/v1/readout/manifest")).text();
  const model = /** @type {string} */ ((await (await ask("/v1/models")).json()).data[0].id);
  return { manifest: /** @type {Manifest} */ (JSON.parse(text)), model, mark: `${model}\n${text}` };
}

/** Resolve if the server is there. */
export const health = () => ask("/health");

/**
 * Generate an answer, chunk by chunk.
 * @param {object} said
 * @param {Pick<Message, "role" | "content">[]} said.messages
 * @param {Steer[]} said.steer
 * @param {number} said.temperature
 * @param {number} said.max_tokens
 * @param {AbortSignal} signal ends it
 */
export async function* chat(said, signal) {
  const body = JSON.stringify({ ...said, stream: true, return_tokens: true });
  const answer = await ask("/v1/chat/completions", { method: "POST", body, signal });
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
