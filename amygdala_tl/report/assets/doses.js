// One concept's effect by dose at every layer, beside random directions; and its effect against what it breaks.

function buildDoses() {
  const { concepts, layers, doses, effects, mostLoss } = STEERING;
  const state = { concept: strongest() };
  state.layer = steeringPlace(state.concept).layer;
  const byDose = el("div", { role: "img", "aria-label": "Effect by dose; the numbers stand in the table below" });
  const byDamage = el("div", { role: "img", "aria-label": "Effect against damage; the numbers stand in the table below" });
  byId("doses-figure").append(byDose);
  byId("damage-figure").append(byDamage);
  const layerField = layerPicker(layers, state.layer, (at) => ((state.layer = at), draw()));
  const pick = conceptPicker(
    state.concept,
    (index) => {
      state.concept = index;
      state.layer = steeringPlace(index).layer;
      layerField.value = String(state.layer);
      draw();
    },
    concepts,
  );
  byId("doses-controls").append(...pick.nodes, field("Layer", layerField));
  byId("doses-legend").append(
    legendItem("line", "accent", "the concept at this layer"),
    legendItem("line", "other", "at other layers; other concepts"),
    legendItem("block", "null", "95% of random directions"),
  );

  const cell = (name, dose, concept = state.concept, layer = state.layer) => effects[name][concept][layer][dose];
  const every = (name, concept, layer) => doses.map((_, dose) => cell(name, dose, concept, layer));
  const trace = (x, y, more) => ({ type: "scatter", x, y, mode: "lines", hoverinfo: "skip", ...more });
  const hover = (dose) =>
    [
      `<b>${plain(clip(concepts[state.concept], 240, 13))}</b>, layer ${layers[state.layer]}, dose ${doseName(doses[dose])}`,
      `effect ${signed(cell("effect", dose))} (${range(cell("low", dose), cell("high", dose), 2)})`,
      `random ${signed(cell("randomMean", dose))} \u00b1 ${fixed(cell("randomDeviation", dose), 2)}, p ${pValue(cell("p", dose))}`,
      `plain texts lose ${signed(cell("loss", dose))}, with random directions ${signed(cell("randomLoss", dose))}`,
    ].join("<br>");

  function own(x, y, more = {}) {
    const ink = colour("accent");
    return trace(x, y, {
      mode: "lines+markers",
      line: { color: ink, width: 2.5 },
      marker: { size: x.map((_, at) => (at ? 8 : 1)), color: ink },
      hoverinfo: "text",
      hovertext: x.map((_, at) => (at ? hover(at - 1) : "the model as it is")),
      ...more,
    });
  }

  function drawDoses() {
    const x = [0, ...doses];
    const zero = (list) => [0, ...list];
    const [value, low, high] = ["effect", "low", "high"].map((name) => zero(every(name)));
    const [mean, deviation] = ["randomMean", "randomDeviation"].map((name) => zero(every(name)));
    const faint = layers.map((_, layer) => layer).filter((layer) => layer !== state.layer);
    const breaks = STEERING.breaksAt[state.concept][state.layer];
    plot(
      byDose,
      [
        trace(x, mean.map((v, at) => v + BAND * deviation[at]), { line: { width: 0 } }),
        trace(x, mean.map((v, at) => v - BAND * deviation[at]), {
          line: { width: 0 },
          fill: "tonexty",
          fillcolor: colour("null"),
        }),
        ...faint.map((layer) =>
          trace(x, zero(every("effect", state.concept, layer)), {
            mode: "lines+markers",
            line: { color: colour("other"), width: 1.5 },
            marker: { size: 5, color: colour("other") },
            hoverinfo: "text",
            hovertext: `layer ${layers[layer]}`,
          }),
        ),
        own(x, value, {
          error_y: {
            type: "data",
            symmetric: false,
            array: value.map((v, at) => high[at] - v),
            arrayminus: value.map((v, at) => v - low[at]),
            color: colour("accent"),
            thickness: 1.5,
            width: 3,
          },
        }),
      ],
      {
        height: byDose.clientWidth < 420 ? 300 : 360,
        margin: { l: 48, r: 14, t: 24, b: 44 },
        xaxis: axis({ title: "dose", range: [0, 1.06 * doses.at(-1)], showgrid: false, ticks: "outside" }),
        yaxis: axis({ title: "effect, nats", tickformat: ".2~f" }),
        shapes: [level(0), ...(known(breaks) ? [upright(breaks, colour("accent"))] : [])],
        annotations: known(breaks) ? [note(breaks, "breaks", breaks > doses.at(-1) / 2 ? "right" : "left")] : [],
      },
    );
  }

  function drawDamage() {
    const others = { x: [], y: [] };
    concepts.forEach((_, index) => {
      others.x.push(0, ...every("loss", index), null);
      others.y.push(0, ...every("effect", index), null);
    });
    const [loss, effect] = ["loss", "effect"].map((name) => [0, ...every(name)]);
    const most = Math.max(mostLoss, ...others.x.filter(known), ...loss.filter(known));
    plot(
      byDamage,
      [
        trace(others.x, others.y, { line: { color: colour("other"), width: 1 }, opacity: concepts.length > 60 ? 0.5 : 0.9 }),
        own(loss, effect, {
          mode: "lines+markers+text",
          text: loss.map((_, at) => (at ? doseName(doses[at - 1]) : "")),
          textposition: "top left",
          textfont: { color: colour("accent"), size: 12 },
          cliponaxis: false,
        }),
      ],
      {
        height: byDamage.clientWidth < 420 ? 300 : 360,
        margin: { l: 48, r: 14, t: 24, b: 44 },
        xaxis: axis({
          title: "plain texts lose, nats a token",
          range: [Math.min(0, ...others.x.filter(known)) - 0.09 * most, 1.06 * most],
          showgrid: false,
          ticks: "outside",
        }),
        yaxis: axis({ title: "effect, nats", tickformat: ".2~f" }),
        shapes: [level(0), upright(mostLoss, colour("muted"))],
        annotations: [note(mostLoss, "too much", mostLoss > most / 2 ? "right" : "left", colour("muted"))],
      },
    );
  }

  const line = (more) => ({ type: "line", layer: "below", ...more });
  const level = (y) => line({ xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: colour("muted"), width: 1 } });
  const upright = (x, ink) => line({ yref: "paper", y0: 0, y1: 1, x0: x, x1: x, line: { color: ink, width: 1, dash: "dot" } });
  const note = (x, text, side, ink = colour("accent")) => ({
    x,
    yref: "paper",
    y: 1,
    yanchor: "bottom",
    xanchor: side,
    text,
    showarrow: false,
    font: { size: 12, color: ink },
  });

  function drawNumbers() {
    const head = ["dose", "effect", "95% interval", "random", "p", "loss", "random"];
    const rows = doses.map((dose, at) => [
      doseName(dose),
      signed(cell("effect", at)),
      range(cell("low", at), cell("high", at), 2),
      `${signed(cell("randomMean", at))} \u00b1 ${fixed(cell("randomDeviation", at), 2)}`,
      pValue(cell("p", at)),
      signed(cell("loss", at)),
      signed(cell("randomLoss", at)),
    ]);
    const cells = (kind, list) => list.map((text) => el(kind, { class: "num", scope: kind === "th" ? "col" : null }, text));
    byId("doses-numbers").replaceChildren(
      el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers by dose" },
        el(
          "table",
          { class: "small" },
          el("thead", {}, el("tr", {}, cells("th", head))),
          el("tbody", {}, rows.map((row) => el("tr", {}, cells("td", row)))),
        ),
      ),
    );
  }

  function draw() {
    drawDoses();
    drawDamage();
    drawNumbers();
  }
  figure(draw);
}
