// How much is held of the conversations: in memory, and in the tab's storage, which survives a reload and ends with the tab.

/** @import { Conversation, Message, Scores, Stored, StoredMessage } from "./types.d.ts" */

const KEY = "amygdala-conversations";
const MOST_STORED = 4_000_000; // characters; browsers give a page about five million
const MOST_HELD = 64 * 2 ** 20; // bytes of scores
const PIECE = 8192; // bytes that become characters at once

/**
 * Messages from the newest to the oldest, those of the conversation that is shown first.
 * @param {Conversation[]} list
 * @param {number} at
 * @returns {Generator<Message, void, void>}
 */
function* newestFirst(list, at) {
  for (const which of [at, ...[...list.keys()].reverse().filter((each) => each !== at)]) {
    const { messages, other } = list[which];
    if (other) yield other;
    yield* messages.toReversed();
  }
}

/** Let go of the oldest tokens' scores when there are too many. @type {(list: Conversation[], at: number, most?: number) => void} */
export function forget(list, at, most = MOST_HELD) {
  let left = most;
  for (const { tokens } of newestFirst(list, at))
    for (let token = tokens.length - 1; token >= 0; token -= 1) {
      left -= tokens[token].scores?.byteLength ?? 0;
      if (left < 0) tokens[token].scores = null;
    }
}

/** @param {Float32Array} scores */
function toText(scores) {
  const bytes = new Uint8Array(scores.buffer, scores.byteOffset, scores.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE) text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  return btoa(text);
}

/** @param {string} text */
const toScores = (text) => new Float32Array(Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0)).buffer);

/**
 * Keep all conversations, with as many scores as there is room for: those of the oldest tokens go first.
 * @param {string} mark of the readout that gave the scores
 * @param {Conversation[]} list
 * @param {number} at the one that is shown, which keeps its scores the longest
 * @returns {boolean} whether the texts had room
 */
export function store(mark, list, at) {
  for (let room = MOST_STORED; ; room = Math.floor(room / 2)) {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(packed(mark, list, at, room)));
      return true;
    } catch {
      if (room) continue;
      sessionStorage.removeItem(KEY);
      return false;
    }
  }
}

/** @type {(mark: string, list: Conversation[], at: number, room: number) => Stored} */
function packed(mark, list, at, room) {
  let left = room;
  /** @type {Map<Message, StoredMessage>} */
  const found = new Map();
  for (const message of newestFirst(list, at)) {
    const { tokens, ...rest } = message;
    const texts = tokens.map(({ text }) => text);
    left -= JSON.stringify({ ...rest, texts }).length;
    found.set(message, { ...rest, texts, scored: [] });
  }
  for (const [{ tokens }, { scored }] of found)
    for (let token = tokens.length - 1; token >= 0 && left > 0; token -= 1) {
      const { scores } = tokens[token];
      if (!scores) continue;
      left -= Math.ceil((scores.byteLength * 4) / 3) + 16;
      if (left > 0) scored.push([token, toText(scores)]);
    }
  const plain = (/** @type {Message} */ message) => /** @type {StoredMessage} */ (found.get(message));
  const all = list.map(({ name, messages, other }) => ({
    name,
    messages: messages.map(plain),
    other: other && plain(other),
  }));
  return { mark, at, list: all };
}

/** What was kept, if anything was. @returns {Omit<Stored, "list"> & { list: Omit<Conversation, "salt">[] } | null} */
export function stored() {
  let found;
  try {
    found = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  } catch {
    // the browser keeps nothing for this page
  }
  if (!found) return null;
  const { mark, at, list } = /** @type {Stored} */ (found);
  /** @type {(message: StoredMessage) => Message} */
  const whole = ({ texts, scored, ...message }) => {
    const tokens = texts.map((each) => ({ text: each, scores: /** @type {Scores} */ (null) }));
    for (const [token, bytes] of scored) tokens[token].scores = toScores(bytes);
    return { ...message, tokens };
  };
  return {
    mark,
    at,
    list: list.map(({ name, messages, other }) => ({
      name,
      messages: messages.map(whole),
      other: other && whole(other),
    })),
  };
}
