// Pairs of concepts that must not be read as independent, in words.

/** @import { CrossTalk, PairWarning } from "./types.d.ts" */
import { byId, el, empty } from "../dom.js";
import { fixed, known, range, signed } from "../numbers.js";

const FIRST_WARNINGS = 8;

/** @param {PairWarning} warning */
function finding({ finding: found, contrast: [value, low, high], nFirstOnly, nSecondOnly }) {
  const single = `texts with only one of the two (${nFirstOnly} and ${nSecondOnly})`;
  const auroc = known(value) ? `AUROC ${fixed(value, 2)} (${range(low, high, 2)})` : "no AUROC";
  switch (found) {
    case "cannot be told apart":
      return `cannot be told apart: on ${single} the readouts do not say which, ${auroc}`;
    case "happen together":
      return `happen together, but are different readouts: on ${single} they say which, ${auroc}`;
    case "opposite ends":
      return "are opposite ends of one axis: where one rises, the other falls";
    case "close readouts":
      if (!known(value)) return `have close readouts; ${single} are too few to say more`;
      return `have close readouts; on ${single} they say which with ${auroc}`;
    default:
      return found;
  }
}

/** @param {PairWarning} warning */
function sentence(warning) {
  const { first, second, cosine, labelCorrelation, scoreCorrelation } = warning;
  const numbers = `Cosine ${fixed(cosine, 2)}; labels correlate ${signed(labelCorrelation)}, scores ${signed(scoreCorrelation)}.`;
  return el("li", {}, el("b", {}, first), " and ", el("b", {}, second), ` ${finding(warning)}. ${numbers}`);
}

/** @param {CrossTalk} crosstalk */
export function listWarnings({ layer, warnings }) {
  const place = byId("crosstalk-warnings");
  place.replaceChildren(el("h3", {}, `Do not read these pairs as independent, layer ${layer}`));
  if (!warnings.length) {
    place.append(empty("No pair was notable at this layer."));
    return;
  }
  const items = warnings.map(sentence);
  const rest = items.slice(FIRST_WARNINGS);
  const list = el("ul", { class: "warnings" }, items.slice(0, FIRST_WARNINGS));
  const showMore = () => {
    list.append(...rest);
    rest[0].setAttribute("tabindex", "-1");
    rest[0].focus(); // the button that had the focus goes
    more.remove();
  };
  const more = el("button", { type: "button", onclick: showMore }, `Show ${rest.length} more`);
  place.append(list, ...(rest.length ? [more] : []));
}
