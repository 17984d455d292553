// The verdict table: sorted by any column, filtered by name and verdict, with the reasons of each row folded in.

const FIRST_ROWS = 40; // of a long table, so that the rest of the page stays near

function buildTable() {
  const scores = DATA.evaluation;
  const ours = scores.auroc;
  const columns = [
    { name: "Concept", of: (i) => CONCEPTS[i].toLowerCase(), text: true },
    { name: "Verdict", of: (i) => VERDICTS.indexOf(QUALITY[i].verdict), text: true },
    { name: "AUROC", of: (i) => ours.value[i], show: (i) => fixed(ours.value[i]), hint: "on held-out texts" },
    {
      name: "95% interval",
      of: (i) => ours.low[i],
      show: (i) => range(ours.low[i], ours.high[i]),
      wide: true,
      hint: "sorts by its lower end",
    },
    {
      name: "Null",
      of: (i) => scores.permutationNull[i],
      show: (i) => fixed(scores.permutationNull[i]),
      wide: true,
      hint: "what 95% of permuted labels stay below",
    },
    {
      name: "Bag of words",
      of: (i) => scores.bagOfWords[i],
      show: (i) => fixed(scores.bagOfWords[i]),
      wide: true,
      ahead: (i) => known(ours.value[i]) && scores.bagOfWords[i] >= ours.value[i],
      hint: "AUROC of word counts on the same texts",
    },
    {
      name: "p",
      of: (i) => scores.p[i],
      show: (i) => pValue(scores.p[i]),
      wide: true,
      up: true,
      hint: "permutation test, corrected for the number of concepts",
    },
    {
      name: "Layer",
      of: (i) => QUALITY[i].layer,
      show: (i) => String(QUALITY[i].layer),
      wide: true,
      up: true,
      hint: "at which it is read",
    },
    {
      name: "Pos. / neg.",
      of: (i) => scores.nPositive[i],
      show: (i) => `${scores.nPositive[i]} / ${scores.nNegative[i]}`,
      wide: true,
      hint: "held-out texts; sorts by positives",
    },
  ];
  const state = {
    column: 1,
    up: true,
    wanted: "",
    verdict: "",
    most: CONCEPTS.length > FIRST_ROWS + 20 ? FIRST_ROWS : Infinity,
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
  const rows = CONCEPTS.map((name, index) => makeRow(index));
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
    const { verdict, redundantWith } = QUALITY[index];
    const open = el(
      "button",
      { type: "button", class: "open", "aria-expanded": "false", onclick: () => toggle() },
      CONCEPTS[index],
    );
    const row = el(
      "tr",
      {},
      el("td", {}, open),
      el(
        "td",
        { class: "verdict" },
        el("span", { class: `v-${slug(verdict)}` }, mark(slug(verdict)), verdict),
        redundantWith ? el("small", {}, `with ${redundantWith}`) : null,
      ),
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
          { class: "detail", id: `detail-${index}` },
          el("td", { colspan: columns.length }, conceptDetails(index)),
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
      return missing || sign * order || (ours.value[b.index] ?? -1) - (ours.value[a.index] ?? -1);
    });
    const shown = rows.filter(
      ({ index }) =>
        matches(CONCEPTS[index], state.wanted) && (!state.verdict || QUALITY[index].verdict === state.verdict),
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
    count.textContent = `${shown.length} of ${CONCEPTS.length} concepts`;
  }

  const phoneSort = picker(
    columns.map((column, index) => [index, column.name]),
    1,
    (value) => sortBy(Number(value), columns[value].text || columns[value].up || false),
  );
  const phoneField = field("Sort by", phoneSort);
  phoneField.classList.add("only-phone");
  byId("verdict-controls").append(
    field(
      "Find concept",
      searchBox("part of a name", (wanted) => ((state.wanted = wanted), refresh())),
    ),
    field(
      "Verdict",
      picker(
        [["", "all"], ...VERDICTS.map((verdict) => [verdict, verdict])],
        "",
        (verdict) => ((state.verdict = verdict), refresh()),
      ),
    ),
    phoneField,
    count,
  );
  byId("verdict-table").append(el("table", { "aria-labelledby": "h-verdicts" }, el("thead", {}, head), body), more);
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
