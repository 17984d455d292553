// The causal check: its table of verdicts, and what the figures of the steering sections share.

const STEERING = DATA.steering;
const LOOKS = { steers: "readable", "reads only": "weak", neither: "not-readable" };
const BAND = 1.96; // deviations of random directions that hold 95% of them

const doseName = (dose) => String(Number(dose.toPrecision(4)));
const steeringMark = (verdict) => el("span", { class: `v-${LOOKS[verdict]}` }, mark(LOOKS[verdict]), verdict);

/** Indices of the place and dose that a concept's figures open with: recommended, or else nearest. */
function steeringPlace(index) {
  const { layer, dose } = STEERING.summary[index];
  return { layer: Math.max(0, STEERING.layers.indexOf(layer)), dose: Math.max(0, STEERING.doses.indexOf(dose)) };
}

/** The concept with the largest effect of those that steer, or else of all. */
function strongest() {
  const rank = ({ verdict, effect }) => (verdict === "steers" ? 1e6 : 0) + (effect ?? -1e3);
  return STEERING.summary.reduce((best, each, index, list) => (rank(each) > rank(list[best]) ? index : best), 0);
}

function buildSteering() {
  const { concepts, summary, seeds } = STEERING;
  const number = (name, key, digits, more = {}) => ({
    name,
    of: (i) => summary[i][key],
    show: (i) => (digits === "p" ? pValue(summary[i][key]) : signed(summary[i][key], digits)),
    ...more,
  });
  const columns = [
    { name: "Concept", of: (i) => concepts[i].toLowerCase(), text: true },
    { name: "Verdict", of: (i) => Object.keys(LOOKS).indexOf(summary[i].verdict), text: true },
    number("Effect", "effect", 2, { hint: "nats, on the concept's own words" }),
    {
      name: "95% interval",
      of: (i) => summary[i].low,
      show: (i) => range(summary[i].low, summary[i].high, 2),
      wide: true,
      hint: "over prompts; sorts by its lower end",
    },
    {
      name: "Random",
      of: (i) => summary[i].randomMean,
      show: (i) => `${signed(summary[i].randomMean, 1)} \u00b1 ${fixed(summary[i].randomDeviation, 1)}`,
      wide: true,
      hint: "effects of random directions: mean and deviation",
    },
    number("p", "p", "p", { wide: true, up: true, hint: "corrected over concepts, layers and doses" }),
    {
      name: "Layer, dose",
      of: (i) => summary[i].layer * 1000 + summary[i].dose,
      show: (i) => `${summary[i].layer}, ${doseName(summary[i].dose)}`,
      wide: true,
      up: true,
      hint: "recommended, or else the nearest",
    },
    number("Loss", "loss", 2, { wide: true, up: true, hint: "what plain texts lose there, nats a token" }),
    number("Ablated", "fall", 2, { wide: true, hint: "fall of its words when it is taken out at that layer, nats" }),
  ];
  sortableTable({
    id: "steering",
    label: "h-steering",
    names: concepts,
    verdicts: Object.keys(LOOKS),
    verdictOf: (i) => summary[i].verdict,
    verdict: (i) => [
      steeringMark(summary[i].verdict),
      seeds.length > 1 ? el("small", { class: "seeds" }, `steers in ${summary[i].steersIn} of ${seeds.length}`) : null,
    ],
    columns,
    details: steeringDetails,
    tie: (i) => summary[i].effect,
  });
}

function steeringDetails(index) {
  const found = STEERING.summary[index];
  const at = steeringPlace(index);
  const rank = STEERING.spearman[index][at.layer];
  const breaks = STEERING.breaksAt[index][at.layer];
  const numbers = [
    ["t against random directions", fixed(found.t, 1)],
    ["p, corrected", pValue(found.p)],
    ["prompts that move the wrong way", known(found.wrongWay) ? `${Math.round(100 * found.wrongWay)}%` : DASH],
    ["rank correlation with the dose", fixed(rank, 2)],
    ["breaks from dose", known(breaks) ? doseName(breaks) : "none of these"],
  ];
  const around = [
    ["plain texts lose, nats a token", signed(found.loss)],
    ["with random directions", signed(found.randomLoss)],
    ["divergence (KL), nats a token", fixed(found.kl, 2)],
    ["readout of a later layer, z", signed(found.reads, 1)],
    ["of it beyond the added vector", signed(found.readsBeyond, 1)],
    ["fall when taken out, nats", signed(found.fall)],
    ["its p, corrected", pValue(found.fallP)],
  ];
  return [
    el("p", {}, found.reason),
    el(
      "div",
      { class: "facets" },
      facet(`At layer ${found.layer}, dose ${doseName(found.dose)}`, pairs(numbers)),
      facet("Around it", pairs(around)),
      facet("Words that are counted", found.words.length ? tokens(found.words) : none("none of its own")),
    ),
  ];
}
