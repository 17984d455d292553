// What a row of the verdict table opens to: the reason, all its numbers, suspicious labels, neighbours, neuron and tokens.

function conceptDetails(index) {
  const quality = QUALITY[index];
  const scores = DATA.evaluation;
  const numbers = [
    ["held-out AUROC", fixed(scores.auroc.value[index])],
    ["its 95% interval", range(scores.auroc.low[index], scores.auroc.high[index])],
    ["null of permuted labels", fixed(scores.permutationNull[index])],
    ["null of random directions", fixed(scores.randomNull[index])],
    ["p, corrected", pValue(scores.p[index])],
    ["bag of words", fixed(scores.bagOfWords[index])],
    ["token embeddings", fixed(scores.embedding[index])],
    ["average precision", fixed(scores.averagePrecision.value[index])],
    ["its 95% interval", range(scores.averagePrecision.low[index], scores.averagePrecision.high[index])],
    ["held-out texts, pos. / neg.", `${scores.nPositive[index]} / ${scores.nNegative[index]}`],
  ];
  const direction = [
    ["read at layer", String(quality.layer)],
    ["cosine of two halves' directions", fixed(quality.splitHalfCosine, 2)],
    ["agreement of positive texts", fixed(quality.agreement, 2)],
    ["variance on first component", known(quality.firstPcShare) ? `${Math.round(100 * quality.firstPcShare)}%` : DASH],
    ["effective dimension", fixed(quality.effectiveDimension, 1)],
    ["nearest MLP neuron", quality.neuron ? `layer ${quality.neuron.layer}, ${quality.neuron.index}` : DASH],
    ["its cosine", quality.neuron ? fixed(quality.neuron.cosine, 2) : DASH],
  ];
  return [
    el("p", {}, quality.reason),
    el(
      "div",
      { class: "facets" },
      facet("On held-out texts", pairs(numbers)),
      facet("The direction", pairs(direction)),
      el(
        "div",
        {},
        facet(
          "Nearest concepts, by cosine",
          quality.nearest.length
            ? pairs(quality.nearest.map(([name, cosine]) => [name, fixed(cosine, 2)]))
            : none("no other concept"),
        ),
        quality.tokensUp.length ? facet("Raises the logits of", tokens(quality.tokensUp)) : null,
        quality.tokensDown.length ? facet("Lowers the logits of", tokens(quality.tokensDown)) : null,
      ),
    ),
    quality.outliers.length ? facet("Labels that the other texts contradict", outliers(quality.outliers)) : null,
  ];
}

const facet = (title, content) => el("div", { class: "facet" }, el("h4", {}, title), content);
const none = (text) => el("p", { class: "empty" }, text);
const pairs = (rows) =>
  el(
    "dl",
    {},
    rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );
const visible = (token) => token.replaceAll("\n", "\u21b5").replaceAll("\t", "\u21e5");
const tokens = (list) =>
  el(
    "p",
    {},
    list.map((token) => el("code", { class: "chip" }, visible(token))),
  );

function outliers(list) {
  const rows = list.map(({ text, words, labelled, z }) =>
    el(
      "tr",
      {},
      el("td", { class: "num" }, fixed(z, 1)),
      el("td", {}, labelled),
      el("td", {}, `${words}\u2026 `, el("code", { title: text }, text.slice(0, 12))),
    ),
  );
  const head = ["z", "labelled", "text, id"].map((name, at) =>
    el("th", { scope: "col", class: at ? null : "num" }, name),
  );
  return el("table", { class: "small outliers" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows));
}
