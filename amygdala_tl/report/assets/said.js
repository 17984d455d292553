// Generations: what the model says to one prompt with the same noise, in every dose of one concept's direction.

function buildSaid() {
  const { samples, concepts } = STEERING;
  const view = byId("said-view");
  if (!samples.length) {
    view.append(none("Nothing was generated: the check was run without samples."));
    return;
  }
  const sampled = concepts.filter((name) => samples.some(({ concept }) => concept === name));
  const prompts = [...new Set(samples.map(({ prompt }) => prompt))];
  const state = { concept: 0, prompt: prompts[0] };
  const best = sampled.indexOf(concepts[strongest()]);
  state.concept = Math.max(0, best);
  const pick = conceptPicker(state.concept, (index) => ((state.concept = index), draw()), sampled);
  byId("said-controls").append(
    ...pick.nodes,
    field(
      "Prompt",
      picker(
        prompts.map((prompt, at) => [at, clip(visible(prompt), 360, 15)]),
        0,
        (at) => ((state.prompt = prompts[at]), draw()),
        { class: "wide" },
      ),
    ),
  );

  function draw() {
    const name = sampled[state.concept];
    const rows = samples.filter(({ concept, prompt }) => concept === name && prompt === state.prompt);
    const layers = [...new Set(rows.map(({ layer }) => layer))].sort((a, b) => a - b);
    const keys = [...new Set(rows.map(({ seed, layer }) => `${layer} ${seed}`))];
    view.replaceChildren(
      el(
        "p",
        { class: "status", role: "status" },
        el("b", {}, name),
        ` added at layer ${layers.join(" and ")}. The model goes on from `,
        el("code", { class: "prompt" }, visible(state.prompt)),
      ),
      ...keys.map((key) => {
        const group = rows.filter(({ seed, layer }) => `${layer} ${seed}` === key).sort((a, b) => a.dose - b.dose);
        return el(
          "div",
          { class: "side-by-side" },
          group.map(({ dose, seed, text, repetition }) =>
            el(
              "div",
              {},
              el("h4", {}, dose ? `dose ${doseName(dose)}` : "as it is"),
              el("p", { class: "said" }, text.trim() || "\u2205"),
              el(
                "small",
                {},
                `seed ${seed}${repetition > 0 ? `, ${Math.round(100 * repetition)}% repeated` : ""}`,
              ),
            ),
          ),
        );
      }),
    );
  }
  draw();
}
