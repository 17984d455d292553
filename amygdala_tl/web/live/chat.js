// The conversation: messages with their tokens, coloured; the way from token to token; edit and regenerate.

/** @import { Message, Token } from "./types.d.ts" */
import { el } from "../dom.js";
import { colourSpan, stepTo, tokenOf, tokenSpan } from "../tokens.js";

/** The value of a token in steps of the colours. @typedef {(message: number, token: number) => number} Value */

/** Tokens after which a new line begins a part of its own: parts out of sight are neither laid out nor painted. */
const PART = 64;
/** Messages with more tokens than this after them are plain text, until their reader opens them: an element a token takes memory. */
const NEAR = 2000;
const NAMES = { user: "You", assistant: "Model" };
/** Of two answers to one question. */
const SIDES = ["Answer A", "Answer B"];

/** What a message was generated with, in words. @param {Message} message @param {boolean} compared */
function how({ steer, seed }, compared) {
  const edits = steer
    .map(({ kind, concept, layer, dose }) => `${kind} ${concept} at ${layer}${kind === "erase" ? "" : `, ${dose}`}`)
    .join("; ");
  const steered = edits ? `steered: ${edits}` : compared ? "not steered" : "";
  return [seed === undefined ? "" : `seed ${seed}`, steered].filter(Boolean).join("; ");
}

/**
 * @param {HTMLElement} list
 * @param {object} act
 * @param {(message: number, token: number) => void} act.look the reader looks at a token
 * @param {(message: number, content: string) => void} act.resend a message of the user's was edited
 * @param {() => void} act.regenerate
 * @param {(side: number) => void} act.pick go on with one of two answers
 */
export function chat(list, { look, resend, regenerate, pick }) {
  /** @type {HTMLElement[]} */
  let bodies = [];
  /** The tokens of each message. @type {HTMLElement[][]} */
  let spans = [];
  /** How many tokens of each message are not on the page, because it is folded to plain text. @type {number[]} */
  let folded = [];
  /** Messages that stay as they are, however far back. @type {WeakSet<Message>} */
  const opened = new WeakSet();
  /** Bodies by a message's list of tokens. @type {WeakMap<Token[], { body: HTMLElement, own: HTMLElement[] }>} */
  const kept = new WeakMap();
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

  /** The body of a message and its tokens; what is on the page already stays, with the sizes that the browser knows of it. @param {Message} message */
  function bodyOf({ content, tokens }) {
    let found = kept.get(tokens);
    if (!found) {
      const named = { class: "text", role: "group", "aria-label": "Tokens; arrow keys move from one to the next" };
      found = { body: el("div", named, content), own: [] };
      kept.set(tokens, found);
    }
    return found;
  }

  /** Fold what is far back; returns how many tokens of each message that hides. @param {Message[]} messages */
  function fold(messages) {
    let after = 0;
    const hidden = messages.toReversed().map((message) => {
      const { tokens, content } = message;
      const far = after > NEAR && !opened.has(message);
      after += tokens.length;
      const found = kept.get(tokens);
      if (far && found?.own.length) {
        found.body.replaceChildren(content);
        found.own.length = 0;
      }
      return far ? tokens.length : 0;
    });
    return hidden.reverse();
  }

  /** Give a folded message its tokens again, and look at the first. @param {Message} message @param {number} at */
  function open(message, at) {
    opened.add(message);
    resend(-1, "");
    spans[at][0].focus({ preventScroll: true });
  }

  /**
   * @param {Message[]} messages
   * @param {boolean} two the last two are answers to one question
   * @param {boolean} busy
   */
  function draw(messages, two, busy) {
    folded = fold(messages);
    const drawn = messages.map(bodyOf);
    bodies = drawn.map(({ body }) => body);
    spans = drawn.map(({ own }) => own);
    for (const [at, message] of messages.entries()) if (message.tokens.length && !folded[at]) extend(message, at);
    const single = two ? messages.slice(0, -2) : messages;
    const items = single.map((message, at) => {
      const tool =
        message.role === "user"
          ? button("Edit", busy, () => edit(message, at))
          : at === messages.length - 1 && button("Regenerate", busy, regenerate);
      return el("li", { class: `message ${message.role}` }, parts(message, at, NAMES[message.role], tool || null));
    });
    if (two) items.push(el("li", { class: "sides" }, SIDES.map(side)));
    list.replaceChildren(...items);
    list.setAttribute("aria-busy", String(busy));
    mark(undefined);
    stop = spans.flat()[0] ?? null;
    stop?.setAttribute("tabindex", "0");

    /** One of two answers. @param {string} name @param {number} which */
    function side(name, which) {
      const at = messages.length - 2 + which;
      const tool = button(`Go on with ${name.slice(-1)}`, busy, () => pick(which));
      const attributes = { class: "message assistant", role: "group", "aria-label": name };
      return el("div", attributes, parts(messages[at], at, name, tool));
    }
  }

  /** @type {(name: string, busy: boolean, onclick: () => void) => HTMLElement} */
  const button = (name, busy, onclick) => el("button", { type: "button", disabled: busy, onclick }, name);

  /** @type {(message: Message, at: number, name: string, tool: HTMLElement | null) => (HTMLElement | null)[]} */
  function parts(message, at, name, tool) {
    const words = how(message, SIDES.includes(name));
    const opener = folded[at] ? button("Show tokens", false, () => open(message, at)) : null;
    return [
      el("header", {}, el("b", {}, name), tool, opener, words ? el("span", {}, words) : null),
      bodies[at],
      message.note ? el("p", { class: "note" }, message.note) : null,
    ];
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
    /** How many tokens of a message are on the page, or folded. @param {number} number */
    shown: (number) => folded[number] || spans[number].length,
    /** Append a message's newest tokens, and colour them. @type {(message: Message, number: number, value: Value) => void} */
    grow(message, number, value) {
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
