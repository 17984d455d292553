// The list of conversations: begin, switch, rename, and delete; the last change can be undone.

/** @import { Conversation } from "./types.d.ts" */
import { byId, disable, el } from "../dom.js";

/** What must wait for the end of an answer. */
const CONTROLS = ["conversation", "new", "rename", "delete", "save", "load", "undo"];
const LONGEST = 40; // characters of a name that the first message gives

/** A name of a conversation as it is now, in the server's cache. */
export const newSalt = () => String(crypto.getRandomValues(new Uint32Array(4)));

/** @param {Partial<Conversation>} parts @returns {Conversation} */
export const newConversation = (parts = {}) => ({ name: "", messages: [], other: null, salt: newSalt(), ...parts });

/** @param {Conversation} conversation */
function nameOf({ name, messages: [first] }) {
  if (name || !first) return name || "New conversation";
  const words = first.content.trim().replace(/\s+/g, " ");
  return words.length > LONGEST ? `${words.slice(0, LONGEST - 1).trimEnd()}\u2026` : words;
}

/**
 * @param {() => void} changed another conversation is shown, or its name is another
 */
export function conversations(changed) {
  const select = /** @type {HTMLSelectElement} */ (byId("conversation"));
  const rename = /** @type {HTMLFormElement} */ (byId("rename-form"));
  const name = /** @type {HTMLInputElement} */ (byId("name"));
  const undo = byId("undo");
  let list = [newConversation()];
  let at = 0;
  /** @type {(() => void) | null} */
  let back = null;

  /** @param {boolean} on */
  function renaming(on) {
    rename.hidden = !on;
    byId("picking").hidden = on;
    if (on) name.value = nameOf(list[at]);
    (on ? name : byId("rename")).focus();
  }

  /** Offer to undo what was done, or nothing. @param {string} what @param {(() => void) | null} act */
  function offer(what, act) {
    back = act;
    undo.hidden = !act;
    undo.textContent = `Undo ${what}`;
  }

  const self = {
    current: () => list[at],
    all: () => list,
    at: () => at,
    offer,
    /** @param {Conversation[]} all @param {number} shown */
    restore(all, shown) {
      [list, at] = [all, shown];
    },
    /** Show a conversation behind the others; in the place of one that is empty. @param {Conversation} conversation */
    add(conversation) {
      list = [...list.filter(({ messages }) => messages.length), conversation];
      at = list.length - 1;
      offer("", null);
      changed();
    },
    /** @param {boolean} busy */
    draw(busy) {
      const options = list.map((each, index) => el("option", { value: index, selected: index === at }, nameOf(each)));
      select.replaceChildren(...options);
      for (const id of CONTROLS) disable(id, busy);
    },
  };

  select.addEventListener("change", () => {
    at = Number(select.value);
    offer("", null);
    changed();
  });
  byId("new").addEventListener("click", () => {
    self.add(newConversation());
    byId("draft").focus();
  });
  byId("rename").addEventListener("click", () => renaming(true));
  rename.addEventListener("submit", (event) => {
    event.preventDefault();
    list[at].name = name.value.trim();
    changed();
    renaming(false);
  });
  name.addEventListener("keydown", ({ key }) => key === "Escape" && renaming(false));
  byId("rename-cancel").addEventListener("click", () => renaming(false));
  byId("delete").addEventListener("click", () => {
    const [before, shown] = [list, at];
    list = list.filter((_, index) => index !== at);
    if (!list.length) list = [newConversation()];
    at = Math.min(at, list.length - 1);
    offer("delete", () => self.restore(before, shown));
    changed();
  });
  undo.addEventListener("click", () => {
    const act = back;
    offer("", null);
    act?.();
    changed();
    select.focus();
  });
  return self;
}
