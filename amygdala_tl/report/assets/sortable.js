// A table of concepts: sorted by any column, filtered by name and verdict, with the details of each row folded in.

const FIRST_ROWS = 40; // of a long table, so that the rest of the page stays near

/**
 * Fills `#<id>-controls` and `#<id>-table`. `names` are the rows; `columns` have a name, `of(i)` to sort by and `show(i)`, where the
 * first is the name and the second the verdict, which `verdict(i)` draws; `details(i)` is what a row opens to; rows that are
 * alike are in the order of `tie(i)`, the largest first.
 */
function sortableTable({ id, label, names, verdicts, verdictOf, verdict, columns, details, tie }) {
  const state = {
    column: 1,
    up: true,
    wanted: "",
    verdict: "",
    most: names.length > FIRST_ROWS + 20 ? FIRST_ROWS : Infinity,
  };

  const heads = columns.map((column, index) => {
    const button = el(
      "button",
      { type: "button", class: "sort", title: column.hint, onclick: () => sortBy(index) },
      column.name,
    );
    return el("th", { scope: "col", class: `${column.text ? "" : "num"} ${column.wide ? "wide-only" : ""}` }, button);
  });
  const head = el(
    "tr",
    {
      onkeydown: (event) =>
        stepFocus(
          event,
          heads.map((th) => th.firstChild),
          "ArrowLeft",
          "ArrowRight",
        ),
    },
    heads,
  );
  const rows = names.map((name, index) => makeRow(index));
  const body = el("tbody", { onkeydown: (event) => stepFocus(event, shownButtons(), "ArrowUp", "ArrowDown") });
  const count = el("span", { class: "count", role: "status" });
  const more = el("button", { type: "button", class: "more", onclick: () => showAll() });

  function showAll() {
    const next = shownButtons().length;
    state.most = Infinity;
    refresh();
    shownButtons()[next].focus(); // the button that had the focus is gone
  }

  function shownButtons() {
    return [...body.querySelectorAll("tr:not([hidden]) .open")];
  }

  function makeRow(index) {
    const open = el(
      "button",
      { type: "button", class: "open", "aria-expanded": "false", onclick: () => toggle() },
      names[index],
    );
    const row = el(
      "tr",
      {},
      el("td", {}, open),
      el("td", { class: "verdict" }, verdict(index)),
      columns
        .slice(2)
        .map((column) =>
          el(
            "td",
            { class: `num ${column.wide ? "wide-only" : ""} ${column.ahead?.(index) ? "ahead" : ""}` },
            column.show(index),
          ),
        ),
    );
    let detail = null;
    function toggle() {
      const opening = open.getAttribute("aria-expanded") === "false";
      open.setAttribute("aria-expanded", String(opening));
      row.classList.toggle("opened", opening);
      if (opening && !detail) {
        detail = el(
          "tr",
          { class: "detail", id: `${id}-detail-${index}` },
          el("td", { colspan: columns.length }, details(index)),
        );
        open.setAttribute("aria-controls", detail.id);
        entry.nodes.push(detail);
        row.after(detail);
      }
      detail.hidden = !opening;
    }
    const entry = {
      index,
      nodes: [row],
      hide: (hidden) => (
        (row.hidden = hidden),
        detail && (detail.hidden = hidden || open.getAttribute("aria-expanded") === "false")
      ),
    };
    return entry;
  }

  function sortBy(index, up = null) {
    const first = columns[index].text || columns[index].up || false;
    state.up = up ?? (state.column === index ? !state.up : first);
    state.column = index;
    refresh();
  }

  function refresh() {
    const { of } = columns[state.column];
    const sign = state.up ? 1 : -1;
    rows.sort((a, b) => {
      const [x, y] = [of(a.index), of(b.index)];
      const missing = (y !== null) - (x !== null); // what is unknown comes last either way
      const order = x < y ? -1 : x > y ? 1 : 0;
      return missing || sign * order || (tie(b.index) ?? -1) - (tie(a.index) ?? -1);
    });
    const shown = rows.filter(
      ({ index }) =>
        matches(names[index], state.wanted) && (!state.verdict || verdictOf(index) === state.verdict),
    );
    const kept = new Set(shown.slice(0, state.most));
    more.hidden = kept.size === shown.length;
    more.textContent = `Show all ${shown.length}`;
    rows.forEach((row) => row.hide(!kept.has(row)));
    body.append(...rows.flatMap((row) => row.nodes));
    heads.forEach((th, index) => {
      if (index === state.column) th.setAttribute("aria-sort", state.up ? "ascending" : "descending");
      else th.removeAttribute("aria-sort");
    });
    phoneSort.value = String(state.column);
    count.textContent = `${shown.length} of ${names.length} concepts`;
  }

  const phoneSort = picker(
    columns.map((column, index) => [index, column.name]),
    1,
    (value) => sortBy(Number(value), columns[value].text || columns[value].up || false),
  );
  const phoneField = field("Sort by", phoneSort);
  phoneField.classList.add("only-phone");
  byId(`${id}-controls`).append(
    field(
      "Find concept",
      searchBox("part of a name", (wanted) => ((state.wanted = wanted), refresh())),
    ),
    field(
      "Verdict",
      picker(
        [["", "all"], ...verdicts.map((verdict) => [verdict, verdict])],
        "",
        (verdict) => ((state.verdict = verdict), refresh()),
      ),
    ),
    phoneField,
    count,
  );
  byId(`${id}-table`).append(el("table", { "aria-labelledby": label }, el("thead", {}, head), body), more);
  refresh();
}

/** Arrow keys move the focus along a list of buttons. */
function stepFocus(event, buttons, back, forth) {
  const at = buttons.indexOf(document.activeElement);
  const step = { [back]: -1, [forth]: 1 }[event.key];
  if (at < 0 || !step) return;
  event.preventDefault();
  buttons[Math.min(Math.max(at + step, 0), buttons.length - 1)].focus();
}
