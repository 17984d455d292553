// The conversation: messages with their tokens, coloured; the way from token to token; edit and regenerate.

/** @import { Message } from "./types.d.ts" */
import { el } from "../dom.js";
import { colourSpan, stepTo, tokenOf, tokenSpan } from "../tokens.js";

/** The value of a token in steps of the colours. @typedef {(message: number, token: number) => number} Value */

/** Tokens after which a new line begins a part of its own: parts out of sight are neither laid out nor painted. */
const PART = 64;
const NAMES = { user: "You", assistant: "Model" };

/** What a message was steered with, in words. @param {Message} message */
const steered = ({ steer }) =>
  steer
    .map(({ kind, concept, layer, dose }) => `${kind} ${concept} at ${layer}${kind === "erase" ? "" : `, ${dose}`}`)
    .join("; ");

/**
 * @param {HTMLElement} list
 * @param {object} act
 * @param {(message: number, token: number) => void} act.look the reader looks at a token
 * @param {(message: number, content: string) => void} act.resend a message of the user's was edited
 * @param {() => void} act.regenerate
 */
export function chat(list, { look, resend, regenerate }) {
  /** @type {HTMLElement[]} */
  let bodies = [];
  /** The tokens of each message. @type {HTMLElement[][]} */
  let spans = [];
  /** The one token that the tab key reaches. @type {HTMLElement | null} */
  let stop = null;

  list.addEventListener("focusin", lookAtTarget);
  list.addEventListener("pointerover", lookAtTarget);
  list.addEventListener("click", (event) => tokenOf(event)?.focus({ preventScroll: true }));
  list.addEventListener("keydown", (event) => {
    const all = spans.flat();
    const at = all.indexOf(/** @type {HTMLElement} */ (event.target));
    const target = at < 0 ? null : stepTo(event.key, all, at);
    if (target === null) return;
    event.preventDefault();
    all[target].focus();
  });

  /** @param {Event} event */
  function lookAtTarget(event) {
    const token = tokenOf(event);
    if (!token) return;
    const message = bodies.indexOf(/** @type {HTMLElement} */ (token.closest(".text")));
    if (message >= 0) look(message, Number(token.dataset.at));
  }

  /** @param {HTMLElement | undefined} span */
  function mark(span) {
    stop?.classList.remove("at");
    stop?.setAttribute("tabindex", "-1");
    stop = span ?? null;
    stop?.classList.add("at");
    stop?.setAttribute("tabindex", "0");
  }

  /** Put the tokens of a message that are not there yet into its body. @param {Message} message @param {number} number */
  function extend({ tokens }, number) {
    const [body, own] = [bodies[number], spans[number]];
    if (!own.length) body.replaceChildren();
    for (let at = own.length; at < tokens.length; at += 1) {
      const part = body.lastElementChild;
      const full = !part || (part.children.length >= PART && tokens[at - 1].text.endsWith("\n"));
      const span = tokenSpan(tokens[at].text, at);
      if (full) body.append(el("div", { class: "part" }, span));
      else part.append(span);
      own.push(span);
    }
  }

  /** @param {Message[]} messages @param {boolean} busy */
  function draw(messages, busy) {
    const named = { class: "text", role: "group", "aria-label": "Tokens; arrow keys move from one to the next" };
    bodies = messages.map(({ content }) => el("div", named, content));
    spans = messages.map(() => []);
    for (const [at, message] of messages.entries()) if (message.tokens.length) extend(message, at);
    list.replaceChildren(...messages.map((message, at) => item(message, at, at === messages.length - 1, busy)));
    list.setAttribute("aria-busy", String(busy));
    stop = null;
    stop = spans.flat()[0] ?? null;
    stop?.setAttribute("tabindex", "0");
  }

  /** @type {(message: Message, at: number, last: boolean, busy: boolean) => HTMLElement} */
  function item(message, at, last, busy) {
    const button = (/** @type {string} */ name, /** @type {() => void} */ onclick) =>
      el("button", { type: "button", disabled: busy, onclick }, name);
    const tools =
      message.role === "user" ? button("Edit", () => edit(message, at)) : last && button("Regenerate", regenerate);
    const how = steered(message);
    return el(
      "li",
      { class: `message ${message.role}` },
      el("header", {}, el("b", {}, NAMES[message.role]), tools || null, how ? el("span", {}, `steered: ${how}`) : null),
      bodies[at],
      message.note ? el("p", { class: "note" }, message.note) : null,
    );
  }

  /** @param {Message} message @param {number} at */
  function edit(message, at) {
    const box = el("textarea", { rows: 3, "aria-label": "Edited message" });
    box.value = message.content;
    const save = () => box.value.trim() && resend(at, box.value);
    const buttons = el(
      "div",
      { class: "row" },
      el("button", { type: "button", onclick: save }, "Send edited"),
      el("button", { type: "button", onclick: () => resend(-1, "") }, "Cancel"),
    );
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
      if (event.key === "Escape") resend(-1, "");
    });
    bodies[at].replaceWith(box, buttons);
    box.focus();
  }

  return {
    draw,
    /** Append the last message's newest tokens, and colour them. @type {(message: Message, value: Value) => void} */
    grow(message, value) {
      const number = bodies.length - 1;
      const own = spans[number];
      const from = own.length;
      extend(message, number);
      for (let at = from; at < own.length; at += 1) colourSpan(own[at], value(number, at));
      if (!stop) mark(own[0]);
    },
    /** Colour all tokens. @param {Value} value */
    paint(value) {
      for (const [message, own] of spans.entries())
        for (const [at, span] of own.entries()) colourSpan(span, value(message, at));
    },
    /** Frame a token. @param {number} message @param {number} token */
    mark: (message, token) => mark(spans[message]?.[token]),
  };
}
