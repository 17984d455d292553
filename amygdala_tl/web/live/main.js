// The live page: a conversation with the served model, and the readout of every token.

/** @import { Message, Prompt, Token, View } from "./types.d.ts" */
/** @import { Run } from "./compare.js" */
/** @import { Served } from "./connection.js" */
/** @import { Scorer } from "./scores.js" */
import { byId } from "../dom.js";
import { followTheme } from "../theme.js";
import { CUT, complete } from "./answer.js";
import { bars, RECENT } from "./bars.js";
import { chat } from "./chat.js";
import { colours } from "./colours.js";
import { comparison } from "./compare.js";
import { connection } from "./connection.js";
import { conversations, newConversation, newSalt } from "./conversations.js";
import { read, save } from "./files.js";
import { follow as followEnd } from "./follow.js";
import { readPrompt } from "./prompt.js";
import { scorer as scorerOf } from "./scores.js";
import { steers } from "./steers.js";
import { forget, store, stored } from "./stored.js";
import { drawTimeline, throttled } from "./timeline.js";
import { sayNothing, sayToken, viewControls } from "./view.js";

const MOST_FOLLOWED = 4;

const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (byId(id));

/** @type {Scorer | null} */
let scorer = null;
/** @type {View} */
let view = { layer: -1, raw: false };
let concept = 0;
/** @type {number[]} */
let followed = [];
/** The token that is looked at; null for the latest. @type {{ message: number, token: number } | null} */
let looked = null;
/** Which of two answers bars and timeline are about. */
let side = 0;
/** What tells the readout that gave the scores, and the served model's name. */
let [mark, model] = ["", ""];
/** Give the question its scores under the second answer's doses. @type {() => void} */
let readOther = () => {};
/** @type {AbortController | null} */
let running = null;
/** @type {(concept: number) => void} */
let showChosen = () => {};

const list = conversations(() => {
  [looked, side] = [null, 0];
  say("");
  sayNothing();
  draw();
  keep();
});
const conversation = chat(byId("messages"), { look, resend, regenerate, pick });
const scale = colours();
const chart = bars({ choose, follow });
const steering = steers();
const compared = comparison(steering.offerSecond);
const keepInView = followEnd(byId("compose"));
const server = connection({ arrived, busy: () => running !== null });

const say = (/** @type {string} */ text) => byId("said").replaceChildren(text);

function keep() {
  if (!store(mark, list.all(), list.at())) say("There is no room to keep the conversations over a reload.");
}

// --- what is shown

/** All messages, with both answers to the last question where there are two. */
function shown() {
  const { messages, other } = list.current();
  return other ? [...messages, other] : messages;
}

/** @param {number} message @param {number} token */
function tokenAt(message, token) {
  const { messages, other } = list.current();
  return (message === messages.length ? other : messages[message])?.tokens[token];
}

/** The messages that bars and timeline are about. */
function followedMessages() {
  const { messages, other } = list.current();
  return other && side ? [...messages.slice(0, -1), other] : messages;
}

const scoreOf = (/** @type {Token | null | undefined} */ token) =>
  scorer?.value(token?.scores ?? null, concept, view) ?? Number.NaN;
const value = (/** @type {number} */ message, /** @type {number} */ token) =>
  scale.steps(scoreOf(tokenAt(message, token)));

function repaint() {
  scale.reset(view.raw ? shown().flatMap(({ tokens }) => tokens.map(scoreOf)) : null);
  conversation.paint(value);
  redraw();
}

/** The last `most` tokens of the conversation. @param {number} most */
function latest(most) {
  const messages = followedMessages();
  /** @type {Token[]} */
  const found = [];
  for (let at = messages.length - 1; at >= 0 && found.length < most; at -= 1)
    found.unshift(...messages[at].tokens.slice(found.length - most));
  return found;
}

let frame = 0;

const drawLines = throttled(100, () => {
  forget(list.all(), list.at());
  if (scorer) drawTimeline(scorer, view, followedMessages(), followed);
});

const drawBars = throttled(50, () => {
  if (!scorer) return;
  const tokens = latest(RECENT);
  const at = looked && tokenAt(looked.message, looked.token);
  chart.draw(scorer, view, at ?? null, tokens, concept, followed);
});

/** Draw tokens with the next frame, and bars and timeline when it is time. */
function redraw() {
  drawBars();
  drawLines();
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    if (running) grow();
  });
}

/** Put new tokens on the page. */
function grow() {
  let scaled = false;
  for (const [at, message] of shown().entries()) {
    const from = conversation.shown(at);
    if (message.role === "user" || from === message.tokens.length) continue;
    conversation.grow(message, at, value);
    scaled = (view.raw && scale.stretch(message.tokens.slice(from).map(scoreOf))) || scaled;
  }
  if (scaled) repaint();
  keepInView();
}

/** @param {number} message @param {number} token */
function look(message, token) {
  const at = tokenAt(message, token);
  if (!at || !scorer) return;
  looked = { message, token };
  const { messages, other } = list.current();
  if (other && message >= messages.length - 1) showSide(message - messages.length + 1);
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

/** Show which of two answers bars and timeline are about. @param {number} of */
function showSide(of) {
  side = of;
  input(`side-${side}`).checked = true;
}

function draw() {
  const busy = running !== null;
  const two = list.current().other !== null;
  conversation.draw(shown(), two, busy);
  list.draw(busy);
  byId("sides").hidden = !two;
  showSide(two ? side : 0);
  for (const id of ["send", "compare"]) byId(id).hidden = busy;
  byId("stop").hidden = !busy;
  repaint();
  keepInView();
}

// --- generating

/** @type {(content: string) => Message} */
const fromUser = (content) => ({ role: "user", content, tokens: [], steer: [], note: "" });

/** Generate answers to the last message: one, or two to compare. @param {Run[]} runs */
async function answer(runs = [{ steer: steering.list() }]) {
  if (!scorer) return;
  const of = scorer;
  const current = list.current();
  const asked = [...current.messages];
  /** @type {Message[]} */
  const answers = runs.map((run) => ({ role: "assistant", content: "", tokens: [], note: "", ...run }));
  current.messages.push(answers[0]);
  current.other = answers[1] ?? null;
  [looked, side] = [null, 0];
  running = new AbortController();
  draw();
  say("Generating.");
  readOther = () => {};
  const how = {
    asked,
    salt: current.salt,
    temperature: Number(input("temperature").value),
    most: Number(input("most").value),
    signal: running.signal,
    grown: redraw,
  };
  await Promise.all(
    answers.map((message, which) =>
      complete(message, of, { ...how, prompted: (prompt) => prompted(prompt, asked, which) }).catch((cause) => {
        message.note = server.failed(cause);
      }),
    ),
  );
  running = null;
  const notes = answers.map(({ note }) => note).filter((note) => note && note !== CUT);
  say(notes[0] ?? `The answer has ${answers.map(({ tokens }) => tokens.length).join(" and ")} tokens.`);
  draw();
  keep();
}

/** The question's tokens are those of the first answer's prompt. @type {(prompt: Prompt, asked: Message[], which: number) => void} */
function prompted(prompt, asked, which) {
  const read = () => scorer && readPrompt(asked, prompt, scorer);
  if (which) readOther = read;
  else {
    read();
    draw();
  }
}

/** @param {number} at index of an edited message, or -1 to leave all as they are @param {string} content */
function resend(at, content) {
  if (at < 0) {
    draw();
    return;
  }
  undoable("edit");
  // The message before may begin as this one does, so the server's cache must not know it.
  Object.assign(list.current(), {
    messages: [...list.current().messages.slice(0, at), fromUser(content)],
    salt: newSalt(),
  });
  answer();
}

function regenerate() {
  undoable("new answer");
  list.current().messages.pop();
  answer();
}

/** Go on with one of two answers. @param {number} which */
function pick(which) {
  undoable("choice");
  const current = list.current();
  if (which && current.other) {
    current.messages = [...current.messages.slice(0, -1), current.other];
    readOther();
  }
  current.other = null;
  [looked, side] = [null, 0];
  draw();
  keep();
  byId("draft").focus();
}

/** Let the user come back to the conversation as it is. @param {string} what will be done to it */
function undoable(what) {
  const current = list.current();
  const before = { ...current, messages: [...current.messages] };
  list.offer(what, () => Object.assign(current, before));
}

/** Send the draft. @param {() => Run[]} [runs] two ways to answer */
function ask(runs) {
  const draft = input("draft");
  const current = list.current();
  if (!draft.value.trim() || running || !server.ready()) return;
  try {
    if (current.other) throw new Error("Choose the answer to go on with first.");
    const ways = runs?.();
    current.messages.push(fromUser(draft.value));
    draft.value = "";
    list.offer("", null);
    answer(ways);
  } catch (cause) {
    say(cause instanceof Error ? cause.message : String(cause));
  }
}

// --- the server

/** @param {Served} found */
function arrived(found) {
  if (found.mark === mark && scorer) return;
  const changed = mark !== "" && mark !== found.mark;
  [mark, model] = [found.mark, found.model];
  byId("model").textContent = `Live readout: ${model}`;
  document.title = `Live readout: ${model}`;
  begin(scorerOf(found.manifest), found);
  if (changed) {
    for (const each of list.all())
      for (const message of [...each.messages, ...(each.other ? [each.other] : [])]) message.tokens = [];
    say("The server has another readout than before, so the scores so far are gone.");
  }
  draw();
}

/** Offer the concepts and layers of a readout. @param {Scorer} found @param {{ steers: boolean, erases: boolean }} can */
function begin(found, { steers, erases }) {
  scorer = found;
  view = { layer: found.combined ? -1 : Math.floor(found.layers.length / 2), raw: !found.calibrated };
  concept = 0;
  followed = [0];
  looked = null;
  showChosen = viewControls(found, view, concept, choose, changeView);
  chart.reset(found);
  byId("steering").hidden = !steers;
  compared.offer(steers);
  steering.reset(steers ? found.concepts : [], found.layers, () => found.concepts[concept], erases);
}

// --- the page

const compose = /** @type {HTMLFormElement} */ (byId("compose"));
compose.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
byId("draft").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  compose.requestSubmit();
});
byId("compare").addEventListener("click", () => {
  const runs = () => compared.runs(steering.list(), steering.second(), Number(input("temperature").value));
  if (compose.reportValidity()) ask(runs);
});
byId("stop").addEventListener("click", () => running?.abort());
byId("sides").addEventListener("change", () => {
  looked = null;
  showSide(input("side-1").checked ? 1 : 0);
  redraw();
});
byId("save").addEventListener("click", () => scorer && save(model, scorer, list.current()));
byId("load").addEventListener("click", () => input("file").click());
byId("file").addEventListener("change", async () => {
  const [file] = input("file").files ?? [];
  input("file").value = "";
  if (!file || !scorer) return;
  try {
    const found = read(await file.text(), scorer);
    list.add(newConversation(found));
    say(`Loaded ${found.messages.length} messages.`);
  } catch (cause) {
    say(cause instanceof Error ? cause.message : String(cause));
  }
});
addEventListener("pagehide", () => {
  if (running)
    for (const message of [list.current().messages.at(-1), list.current().other])
      if (message) message.note = "The page was left before the answer was whole.";
  keep();
});

followTheme();
const before = stored();
if (before) {
  mark = before.mark;
  list.restore(before.list.map(newConversation), before.at);
}
sayNothing();
draw();
server.watch();
