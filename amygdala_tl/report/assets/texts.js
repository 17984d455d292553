// The text browser: one text, its tokens coloured by the z-score of a concept at a layer.

function buildTexts() {
  const view = byId("texts-view");
  if (!DATA.texts.length) {
    view.append(el("p", { class: "empty" }, "No texts to show: the report was made without the model."));
    return;
  }
  const all = DATA.texts.map((text) => ({ ...text, read: lazily(() => unpack(text.z)) }));
  const state = {
    text: 0,
    token: 0,
    layer: Math.max(0, DATA.layers.indexOf(DATA.commonLayer)),
    concept: Math.max(0, CONCEPTS.indexOf(all[0].labels[0])),
  };
  const title = ({ tokens, labels }, at) =>
    `${at + 1}. ${clip(tokens.slice(0, 40).join("").trim(), 300, 15)}${labels.length ? ` [${labels.join(", ")}]` : ""}`;
  const textPicker = picker(
    all.map((text, at) => [at, title(text, at)]),
    0,
    (value) => openText(Number(value)),
    { class: "wide" },
  );
  const concept = conceptPicker(state.concept, (index) => ((state.concept = index), paint()));
  const step = (by) => () => {
    openText(state.text + by);
    textPicker.value = String(state.text);
  };
  const [previous, next] = [
    ["Previous", -1],
    ["Next", 1],
  ].map(([name, by]) => el("button", { type: "button", onclick: step(by) }, name));
  byId("texts-controls").append(
    field("Text", textPicker),
    el("div", { class: "steps" }, previous, next),
    ...concept.nodes,
    field(
      "Layer",
      layerPicker(DATA.layers, state.layer, (layer) => ((state.layer = layer), paint())),
    ),
  );
  const labels = el("div", { class: "labels" });
  const reading = el("p", { class: "reading", role: "status" });
  const body = el("div", {
    class: "text",
    role: "group",
    "aria-label": "Tokens of the text; arrow keys move from token to token",
    onkeydown: walk,
  });
  body.addEventListener("focusin", ({ target }) => target.dataset.at && look(Number(target.dataset.at)));
  body.addEventListener("pointerover", ({ target }) => target.dataset.at && look(Number(target.dataset.at)));
  body.addEventListener("click", ({ target }) => target.dataset.at && target.focus({ preventScroll: true }));
  const legend = scaleLegend("t", `${MINUS}4 or less`, "", "+4 or more", "z");
  view.append(
    el(
      "div",
      { class: "scale" },
      legend,
      el("span", { class: "none" }, "not scored"),
      el("span", {}, "(attention sink)"),
    ),
    labels,
    reading,
    body,
  );

  function openText(at) {
    state.text = Math.min(Math.max(at, 0), all.length - 1);
    previous.disabled = state.text === 0;
    next.disabled = state.text === all.length - 1;
    const { tokens, labels: positive, id } = all[state.text];
    body.replaceChildren(
      ...tokens.map((token, index) =>
        el("span", { class: "tok", "data-at": index, tabindex: "-1" }, token.replaceAll("\n", "\u21b5\n")),
      ),
    );
    body.scrollTop = 0;
    const z = all[state.text].read();
    state.token = Math.max(
      0,
      tokens.findIndex((_, index) => !Number.isNaN(z(index, state.layer, state.concept))),
    );
    labels.replaceChildren(
      positive.length ? "labelled" : "positive for none of the concepts",
      ...positive.map((name) => el("button", { type: "button", onclick: () => choose(name) }, name)),
      el("code", { title: id }, id.slice(0, 12)),
    );
    paint();
  }

  function choose(name) {
    if (!CONCEPTS.includes(name)) return;
    state.concept = CONCEPTS.indexOf(name);
    concept.set(state.concept);
    paint();
  }

  function paint() {
    const z = all[state.text].read();
    [...body.children].forEach((span, at) => {
      const value = z(at, state.layer, state.concept);
      span.className = Number.isNaN(value) ? "tok none" : "tok";
      span.style.background = Number.isNaN(value) ? "" : `var(--t${Math.min(8, Math.max(0, Math.round(value) + 4))})`;
    });
    look(state.token);
  }

  function look(at) {
    body.children[state.token]?.setAttribute("tabindex", "-1");
    body.children[state.token]?.classList.remove("at");
    state.token = at;
    body.children[at].setAttribute("tabindex", "0");
    body.children[at].classList.add("at");
    const z = all[state.text].read();
    const here = CONCEPTS.map((name, index) => [name, z(at, state.layer, index)])
      .filter(([, value]) => !Number.isNaN(value))
      .sort((a, b) => b[1] - a[1]);
    const value = z(at, state.layer, state.concept);
    const shown = Number.isNaN(value)
      ? DASH
      : Math.abs(value) > 12.65
        ? `${value > 0 ? "+" : MINUS}12.7 or beyond`
        : signed(value, 1);
    reading.replaceChildren(
      el("code", { class: "chip" }, visible(all[state.text].tokens[at])),
      ` ${CONCEPTS[state.concept]}, layer ${DATA.layers[state.layer]}: z = `,
      el("b", {}, shown),
      here.length
        ? `. Strongest here: ${here
            .slice(0, 4)
            .map(([name, score]) => `${clip(name, 180)} ${signed(score, 1)}`)
            .join(", ")}.`
        : ". This token is an attention sink and is not scored.",
    );
  }

  function walk(event) {
    const last = body.children.length - 1;
    const target = {
      ArrowRight: state.token + 1,
      ArrowLeft: state.token - 1,
      Home: 0,
      End: last,
      ArrowDown: line(1),
      ArrowUp: line(-1),
    }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    body.children[Math.min(Math.max(target, 0), last)].focus();
  }

  /** Index of the token above or below, the nearest by its left edge. */
  function line(direction) {
    const from = body.children[state.token].getBoundingClientRect();
    let best = state.token;
    let least = Infinity;
    [...body.children].forEach((span, at) => {
      const box = span.getBoundingClientRect();
      const rows = (direction * (box.top - from.top)) / 20;
      const distance = rows * 1000 + Math.abs(box.left - from.left);
      if (rows > 0.5 && distance < least) [best, least] = [at, distance];
    });
    return best;
  }
  openText(0);
}
