// The live page: a conversation with the served model, and the readout of every token.

/** @import { Message, Token, View } from "./types.d.ts" */
/** @import { Which } from "./api.js" */
/** @import { Scorer } from "./scores.js" */
import { byId, el, visible } from "../dom.js";
import { MINUS, signed } from "../numbers.js";
import { scaleLegend } from "../plots.js";
import { followTheme } from "../theme.js";
import { chat as generate, health, KeyNeeded, Refusal, served, setKey } from "./api.js";
import { bars, RECENT } from "./bars.js";
import { chat } from "./chat.js";
import { read, save } from "./files.js";
import { readPrompt } from "./prompt.js";
import { scorer as scorerOf, steadyScale } from "./scores.js";
import { steers } from "./steers.js";
import { drawTimeline } from "./timeline.js";
import { sayToken, viewControls } from "./view.js";

const MOST_FOLLOWED = 4;
const PAUSE = 2000; // milliseconds between two looks at whether the server is there

const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (byId(id));
const button = (/** @type {string} */ id) => /** @type {HTMLButtonElement} */ (byId(id));

/** @type {Message[]} */
let messages = [];
/** @type {Scorer | null} */
let scorer = null;
/** @type {View} */
let view = { layer: -1, raw: false };
let concept = 0;
/** @type {number[]} */
let followed = [];
/** The token that is looked at; null for the latest. @type {{ message: number, token: number } | null} */
let looked = null;
/** Score of a step of the colours, and the largest raw score so far. */
let [step, largest] = [1, 0];
/** Tokens of the answer that are on the page. */
let grown = 0;
let [mark, model] = ["", ""];
let salt = newSalt();
/** The key that the server asks for. @type {Which} */
let wanted = "server";
/** @type {AbortController | null} */
let running = null;
/** @type {(concept: number) => void} */
let showChosen = () => {};

const conversation = chat(byId("messages"), { look, resend, regenerate });
const chart = bars({ choose, follow });
const steering = steers();

/** A name of a conversation as it is now, in the server's cache. */
function newSalt() {
  return String(crypto.getRandomValues(new Uint32Array(4)));
}

/** @param {string} text */
function say(text) {
  byId("said").textContent = text;
}

// --- what is shown

const value = (/** @type {number} */ message, /** @type {number} */ token) =>
  (scorer?.value(messages[message]?.tokens[token]?.scores ?? null, concept, view) ?? Number.NaN) / step;

/** Colours reach four deviations for z; raw scores have no such unit. @param {Token[]} tokens that are new */
function measure(tokens) {
  const before = step;
  if (view.raw)
    for (const { scores } of tokens) {
      const size = Math.abs(scorer?.value(scores, concept, view) ?? Number.NaN);
      if (size > largest && Number.isFinite(size)) largest = size;
    }
  step = view.raw ? steadyScale(4 * step, largest) / 4 : 1;
  return step !== before;
}

function repaint() {
  [step, largest] = [0, 0];
  measure(messages.flatMap(({ tokens }) => tokens));
  conversation.paint(value);
  const [end, unit] = [signed(4 * step, step < 1 ? 2 : 0), view.raw ? "raw score" : "z"];
  byId("scale").replaceChildren(scaleLegend("t", `${end.replace("+", MINUS)} or less`, "", `${end} or more`, unit));
  redraw();
}

/** The last `most` tokens of the conversation. @param {number} most */
function latest(most) {
  /** @type {Token[]} */
  const found = [];
  for (let at = messages.length - 1; at >= 0 && found.length < most; at -= 1)
    found.unshift(...messages[at].tokens.slice(found.length - most));
  return found;
}

let frame = 0;
let lines = 0;

/** Draw the timeline, at most ten times a second. */
function drawLines() {
  if (lines) return;
  lines = window.setTimeout(() => {
    lines = 0;
    if (scorer) drawTimeline(scorer, view, messages, followed);
  }, 100);
}

/** Draw tokens, bars and timeline, once for all tokens that come before the next frame. */
function redraw() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    if (!scorer) return;
    const last = messages.at(-1);
    if (running && last && grown < last.tokens.length) {
      const fresh = last.tokens.slice(grown);
      grown = last.tokens.length;
      conversation.grow(last, value);
      if (measure(fresh)) repaint();
    }
    const tokens = latest(RECENT);
    const at = looked && messages[looked.message]?.tokens[looked.token];
    const now = at ?? tokens.at(-1);
    const recent = tokens.map(({ scores }) => scores);
    chart.draw(scorer, view, now?.scores ?? null, recent, concept, followed);
    byId("h-bars").replaceChildren(
      at ? "Strongest concepts at " : "Strongest concepts at the latest token ",
      now ? el("code", { class: "chip" }, visible(now.text)) : "",
    );
    drawLines();
  });
}

/** @param {number} message @param {number} token */
function look(message, token) {
  const at = messages[message]?.tokens[token];
  if (!at || !scorer) return;
  looked = { message, token };
  conversation.mark(message, token);
  sayToken(scorer, view, at, concept);
  redraw();
}

/** @param {number} chosen */
function choose(chosen) {
  concept = chosen;
  showChosen(chosen);
  if (!followed.includes(chosen)) follow(chosen, true);
  repaint();
  if (looked) look(looked.message, looked.token);
}

/** @param {number} which @param {boolean} on */
function follow(which, on) {
  followed = followed.filter((each) => each !== which);
  if (on) followed = [...followed, which].slice(-MOST_FOLLOWED);
  redraw();
}

/** @param {Partial<View>} to */
function changeView(to) {
  view = { ...view, ...to };
  chart.turn();
  repaint();
  if (looked) look(looked.message, looked.token);
}

function draw() {
  conversation.draw(messages, running !== null);
  grown = messages.at(-1)?.tokens.length ?? 0;
  button("send").hidden = running !== null;
  button("stop").hidden = running === null;
  for (const id of ["save", "load", "clear"]) button(id).disabled = running !== null;
  repaint();
}

// --- generating

/** @type {(content: string) => Message} */
const fromUser = (content) => ({ role: "user", content, tokens: [], steer: [], note: "" });

/** Generate an answer to the last message. */
async function answer() {
  if (!scorer) return;
  const of = scorer;
  const steer = steering.list();
  const said = messages.map(({ role, content }) => ({ role, content }));
  /** @type {Message} */
  const message = { role: "assistant", content: "", tokens: [], steer, note: "" };
  messages.push(message);
  looked = null;
  running = new AbortController();
  draw();
  say("Generating.");
  const options = {
    messages: said,
    ...(steer.length ? { steer } : {}),
    cache_salt: salt,
    temperature: Number(input("temperature").value),
    max_tokens: Number(input("most").value),
  };
  try {
    for await (const { choices: [choice] = [] } of generate(options, running.signal)) {
      if (!choice) continue;
      if (choice.prompt) {
        readPrompt(messages, choice.prompt, of);
        draw();
      }
      for (const [at, text] of (choice.tokens ?? []).entries()) {
        const scores = of.pack(choice.readout?.[at] ?? null, choice.readout_combined?.[at]);
        message.tokens.push({ text, scores });
        message.content += text;
      }
      if (choice.tokens) redraw();
      if (choice.finish_reason === "length") message.note = "Cut at the most tokens.";
    }
    say(`The answer has ${message.tokens.length} tokens.`);
  } catch (cause) {
    message.note = failure(cause);
    say(message.note);
  }
  running = null;
  draw();
}

/** What went wrong, in a sentence. @param {unknown} cause */
function failure(cause) {
  if (cause instanceof KeyNeeded) askForKey(cause);
  if (cause instanceof KeyNeeded || cause instanceof Refusal) return cause.message;
  if (cause instanceof DOMException && cause.name === "AbortError") return "Stopped.";
  if (!(cause instanceof TypeError)) throw cause;
  away();
  return "The server went away before the answer was whole.";
}

/** @param {number} at index of an edited message, or -1 to leave all as they are @param {string} content */
function resend(at, content) {
  if (at < 0) {
    draw();
    return;
  }
  messages = [...messages.slice(0, at), fromUser(content)];
  salt = newSalt(); // the message before may begin as this one does
  answer();
}

function regenerate() {
  messages.pop();
  answer();
}

// --- the server

/** @type {"new" | "here" | "away" | "key"} */
let state = "new";

function away() {
  state = "away";
  byId("server").textContent = "The server does not answer. Trying again.";
  byId("server").classList.add("away");
  button("send").disabled = true;
}

/** @param {KeyNeeded} cause */
function askForKey(cause) {
  state = "key";
  wanted = cause.which;
  byId("key").hidden = false;
  byId("key-name").textContent = wanted === "readout" ? "Key of the readout routes" : "API key of the server";
  byId("server").textContent = cause.message;
  button("send").disabled = true;
}

async function connect() {
  try {
    const found = await served();
    const changed = state === "away" && mark !== "" && mark !== found.mark;
    state = "here";
    byId("key").hidden = true;
    byId("server").classList.remove("away");
    const { concepts, layers } = found.manifest;
    byId("server").textContent = `${concepts.length} concepts at layers ${layers.join(", ")}`;
    button("send").disabled = false;
    if (found.mark === mark) return;
    [mark, model] = [found.mark, found.model];
    byId("model").textContent = `Live readout: ${model}`;
    document.title = `Live readout: ${model}`;
    begin(scorerOf(found.manifest), found.steers);
    if (changed) {
      messages = messages.map((message) => ({ ...message, tokens: [] }));
      say("The server came back with another readout, so the scores so far are gone.");
    }
    draw();
  } catch (cause) {
    if (cause instanceof KeyNeeded) askForKey(cause);
    else away();
  }
}

/** Offer the concepts and layers of a readout. @param {Scorer} found @param {boolean} steers */
function begin(found, steers) {
  scorer = found;
  view = { layer: found.combined ? -1 : Math.floor(found.layers.length / 2), raw: !found.calibrated };
  concept = 0;
  followed = [0];
  looked = null;
  showChosen = viewControls(found, view, concept, choose, changeView);
  chart.reset(found);
  byId("steering").hidden = !steers;
  steering.reset(steers ? found.concepts : [], found.layers, () => found.concepts[concept]);
}

async function watch() {
  if (state === "away" || state === "new") await connect();
  else if (state === "here" && !running) {
    try {
      await health();
    } catch {
      away();
    }
  }
  setTimeout(watch, PAUSE);
}

// --- the page

byId("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const draft = input("draft");
  if (!draft.value.trim() || running || state !== "here") return;
  messages.push(fromUser(draft.value));
  draft.value = "";
  answer();
});
byId("draft").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  /** @type {HTMLFormElement} */ (byId("compose")).requestSubmit();
});
byId("stop").addEventListener("click", () => running?.abort());
byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(wanted, input("key-value").value);
  input("key-value").value = "";
  connect();
});
byId("save").addEventListener("click", () => scorer && save(model, scorer, messages));
byId("load").addEventListener("click", () => input("file").click());
byId("clear").addEventListener("click", () => {
  messages = [];
  salt = newSalt();
  looked = null;
  say("");
  draw();
});
byId("file").addEventListener("change", async () => {
  const [file] = input("file").files ?? [];
  input("file").value = "";
  if (!file || !scorer) return;
  try {
    messages = read(await file.text(), scorer);
    salt = newSalt();
    looked = null;
    say(`Loaded ${messages.length} messages.`);
    draw();
  } catch (cause) {
    say(cause instanceof Error ? cause.message : String(cause));
  }
});

followTheme();
watch();
