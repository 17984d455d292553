// A table of concepts: sorted by any column, filtered by name and verdict, with the details of each row folded in.

/** @import { Child } from "./dom.js" */
import { changer, field, indexPicker, matches, searchField, verdictField } from "./controls.js";
import { byId, el, stepFocus } from "./dom.js";

const FIRST_ROWS = 40; // of a long table, so that the rest of the page stays near

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {(string | number | null)[]} values what to sort by; null comes last either way
 * @property {string[]} [cells] the first two columns have none
 * @property {string} [hint]
 * @property {boolean} [up] whether the first click sorts the smallest first
 * @property {boolean} [wide] left out on a phone
 * @property {boolean[]} [bold] cells
 */

export const WIDE = { wide: true };
export const WIDE_UP = { wide: true, up: true };

/** @type {(name: string, hint: string, values: Column["values"], cells: string[], more?: Partial<Column>) => Column} */
export const column = (name, hint, values, cells, more = {}) => ({ name, hint, values, cells, ...more });

/**
 * Fill `#<id>-controls` and `#<id>-table`. The first two columns are the name and the verdict.
 * @param {object} table
 * @param {string} table.id
 * @param {string[]} table.names the rows
 * @param {string[]} table.verdicts every verdict, in the order of the column
 * @param {string[]} table.verdictOf
 * @param {(i: number) => Child} table.showVerdict
 * @param {Column[]} table.columns those behind the verdict
 * @param {(i: number) => Child} table.details what a row opens to
 * @param {(number | null)[]} table.tie rows that sort alike come in this order, the largest first
 */
export function sortableTable({ id, names, verdicts, verdictOf, showVerdict, columns: numbers, details, tie }) {
  /** @type {Column[]} */
  const columns = [
    { name: "Concept", values: names.map((name) => name.toLowerCase()), up: true },
    { name: "Verdict", values: verdictOf.map((verdict) => verdicts.indexOf(verdict)), up: true },
    ...numbers,
  ];
  const most = names.length > FIRST_ROWS + 20 ? FIRST_ROWS : Infinity;
  const state = { column: 1, up: true, wanted: "", verdict: "", most };
  const change = changer(state, refresh);
  const sortBy = (/** @type {number} */ column, up = columns[column].up ?? false) => change({ column, up });
  const look = ({ cells, wide } = columns[0]) => `${cells ? "num" : ""} ${wide ? "wide-only" : ""}`;
  const buttons = columns.map(({ name, hint }, at) => {
    const toggle = () => sortBy(at, state.column === at ? !state.up : undefined);
    return el("button", { type: "button", class: "sort", title: hint, onclick: toggle }, name);
  });
  const heads = columns.map((column, at) => el("th", { scope: "col", class: look(column) }, buttons[at]));
  const alongHead = (/** @type {KeyboardEvent} */ event) => stepFocus(event, buttons, "ArrowLeft", "ArrowRight");
  const alongRows = (/** @type {KeyboardEvent} */ event) => stepFocus(event, shownButtons(), "ArrowUp", "ArrowDown");
  const rows = names.map((_, index) => makeRow(index));
  const body = el("tbody", { onkeydown: alongRows });
  const count = el("span", { class: "count", role: "status" });
  const more = el("button", { type: "button", class: "more", onclick: showAll });
  const columnNames = columns.map(({ name }) => name);
  const phoneSort = indexPicker(columnNames, 1, (at) => sortBy(at), null);

  /** @returns {HTMLButtonElement[]} */
  function shownButtons() {
    return [...body.querySelectorAll(/** @type {"button"} */ ("tr:not([hidden]) .open"))];
  }

  function showAll() {
    const next = shownButtons().length;
    change({ most: Infinity });
    shownButtons()[next].focus(); // the button that had the focus is gone
  }

  /** @param {number} index */
  function makeRow(index) {
    const open = el(
      "button",
      { type: "button", class: "open", "aria-expanded": "false", onclick: toggle },
      names[index],
    );
    const cells = numbers.map((column) =>
      el("td", { class: `${look(column)} ${column.bold?.[index] ? "ahead" : ""}` }, column.cells?.[index]),
    );
    const row = el("tr", {}, el("td", {}, open), el("td", { class: "verdict" }, showVerdict(index)), cells);
    const isOpen = () => open.getAttribute("aria-expanded") === "true";
    /** @type {HTMLElement | undefined} */
    let detail;

    function toggle() {
      open.setAttribute("aria-expanded", String(!isOpen()));
      row.classList.toggle("opened", isOpen());
      if (!detail) {
        const cell = el("td", { colspan: columns.length }, details(index));
        detail = el("tr", { class: "detail", id: `${id}-detail-${index}` }, cell);
        open.setAttribute("aria-controls", detail.id);
        row.after(detail);
      }
      detail.hidden = !isOpen();
    }

    const hide = (/** @type {boolean} */ hidden) => {
      row.hidden = hidden;
      if (detail) detail.hidden = hidden || !isOpen();
    };
    return { index, nodes: () => (detail ? [row, detail] : [row]), hide };
  }

  function refresh() {
    const { values } = columns[state.column];
    const sign = state.up ? 1 : -1;
    rows.sort(({ index: a }, { index: b }) => {
      const [x, y] = [values[a], values[b]];
      const order =
        x === null || y === null ? Number(x === null) - Number(y === null) : sign * (x < y ? -1 : x > y ? 1 : 0);
      return order || (tie[b] ?? -1) - (tie[a] ?? -1);
    });
    const shown = rows.filter(
      ({ index }) => matches(names[index], state.wanted) && (!state.verdict || verdictOf[index] === state.verdict),
    );
    const kept = new Set(shown.slice(0, state.most));
    more.hidden = kept.size === shown.length;
    more.textContent = `Show all ${shown.length}`;
    for (const row of rows) row.hide(!kept.has(row));
    body.append(...rows.flatMap((row) => row.nodes()));
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[state.column].setAttribute("aria-sort", state.up ? "ascending" : "descending");
    phoneSort.value = String(state.column);
    count.textContent = `${shown.length} of ${names.length} concepts`;
  }

  const phoneField = field("Sort by", phoneSort);
  phoneField.classList.add("only-phone");
  byId(`${id}-controls`).append(
    searchField("Find concept", (wanted) => change({ wanted })),
    verdictField(verdicts, (verdict) => change({ verdict })),
    phoneField,
    count,
  );
  const head = el("thead", {}, el("tr", { onkeydown: alongHead }, heads));
  byId(`${id}-table`).append(el("table", { "aria-labelledby": `h-${id}` }, head, body), more);
  refresh();
}
