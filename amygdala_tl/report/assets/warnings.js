// Pairs that must not be read as independent axes, in words.

const FIRST_WARNINGS = 8;

function warningSentence(warning) {
  const names = [el("b", {}, warning.first), " and ", el("b", {}, warning.second)];
  const alone = `on texts with only one of the two (${warning.nFirstOnly} and ${warning.nSecondOnly})`;
  const [value, low, high] = warning.contrast;
  const told = known(value) ? `AUROC ${fixed(value, 2)} (${range(low, high, 2)})` : "no AUROC";
  const numbers = `Cosine ${fixed(warning.cosine, 2)}; labels correlate ${signed(warning.labelCorrelation)}, scores ${signed(warning.scoreCorrelation)}.`;
  const said = {
    "cannot be told apart": ` cannot be told apart: ${alone} the readouts do not say which, ${told}. ${numbers}`,
    "happen together": ` happen together, but are different readouts: ${alone} they say which, ${told}. ${numbers}`,
    "close readouts":
      warning.cosine < 0
        ? ` are ends of one axis: where one rises, the other falls. ${numbers}`
        : ` have close readouts; ${known(value) ? `${alone} they say which with ${told}` : `texts with only one of the two (${warning.nFirstOnly} and ${warning.nSecondOnly}) are too few to say more`}. ${numbers}`,
  };
  return el("li", {}, ...names, said[warning.finding] ?? ` ${warning.finding}. ${numbers}`);
}

function listWarnings({ layer, warnings }) {
  const place = byId("crosstalk-warnings");
  const title = el("h3", {}, `Do not read these pairs as independent, layer ${layer}`);
  if (!warnings.length) {
    place.replaceChildren(title, el("p", { class: "empty" }, "No pair stood out at this layer."));
    return;
  }
  const items = warnings.map(warningSentence);
  const list = el("ul", { class: "warnings" }, items.slice(0, FIRST_WARNINGS));
  const rest = items.slice(FIRST_WARNINGS);
  const more = el(
    "button",
    {
      type: "button",
      onclick: () => (list.append(...rest), rest[0].setAttribute("tabindex", "-1"), rest[0].focus(), more.remove()),
    },
    `Show ${rest.length} more`,
  );
  place.replaceChildren(title, list, ...(rest.length ? [more] : []));
}
