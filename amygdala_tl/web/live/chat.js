// The conversation: messages with their tokens, coloured; the way from token to token; edit and regenerate.

/** @import { Message } from "./types.d.ts" */
import { el } from "../dom.js";
import { colourSpan, stepTo, tokenOf, tokenSpan } from "../tokens.js";

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
  /** The one token that the tab key reaches. @type {HTMLElement | null} */
  let stop = null;

  list.addEventListener("focusin", lookAtTarget);
  list.addEventListener("pointerover", lookAtTarget);
  list.addEventListener("click", (event) => tokenOf(event)?.focus({ preventScroll: true }));
  list.addEventListener("keydown", (event) => {
    const spans = /** @type {HTMLElement[]} */ ([...list.querySelectorAll(".tok")]);
    const at = spans.indexOf(/** @type {HTMLElement} */ (event.target));
    const target = at < 0 ? null : stepTo(event.key, spans, at);
    if (target === null) return;
    event.preventDefault();
    spans[target].focus();
  });

  /** @param {Event} event */
  function lookAtTarget(event) {
    const token = tokenOf(event);
    if (!token) return;
    const message = bodies.indexOf(/** @type {HTMLElement} */ (token.parentElement));
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

  /** @param {Message[]} messages @param {boolean} busy */
  function draw(messages, busy) {
    bodies = messages.map(({ tokens, content }) => {
      const spans = tokens.length ? tokens.map(({ text }, at) => tokenSpan(text, at)) : content;
      return el(
        "div",
        { class: "text", role: "group", "aria-label": "Tokens; arrow keys move from one to the next" },
        spans,
      );
    });
    list.replaceChildren(...messages.map((message, at) => item(message, at, at === messages.length - 1, busy)));
    list.setAttribute("aria-busy", String(busy));
    stop = null;
    bodies.find((body) => body.firstElementChild)?.firstElementChild?.setAttribute("tabindex", "0");
    stop = list.querySelector(".tok");
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
    /** Append the last message's newest tokens. @param {Message} message */
    grow(message) {
      const body = bodies[bodies.length - 1];
      if (!body.firstElementChild) body.replaceChildren();
      const fresh = message.tokens.slice(body.children.length);
      body.append(...fresh.map(({ text }, at) => tokenSpan(text, body.children.length + at)));
      if (!stop) mark(/** @type {HTMLElement | undefined} */ (body.firstElementChild));
    },
    /** Colour tokens, those of one message from `from` on or all. @param {(message: number, token: number) => number} value */
    paint(value, only = -1, from = 0) {
      for (const [message, body] of bodies.entries()) {
        if (only >= 0 && message !== only) continue;
        const spans = /** @type {HTMLElement[]} */ ([...body.children]);
        for (let at = from; at < spans.length; at += 1) colourSpan(spans[at], value(message, at));
      }
    },
    /** Frame a token. @param {number} message @param {number} token */
    mark: (message, token) => mark(/** @type {HTMLElement | undefined} */ (bodies[message]?.children[token])),
  };
}
