// The verdict table: what may be believed of each readout, with the numbers behind it.

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
  sortableTable({
    id: "verdict",
    label: "h-verdicts",
    names: CONCEPTS,
    verdicts: VERDICTS,
    verdictOf: (i) => QUALITY[i].verdict,
    verdict: (i) => {
      const { verdict, redundantWith } = QUALITY[i];
      return [
        el("span", { class: `v-${slug(verdict)}` }, mark(slug(verdict)), verdict),
        redundantWith ? el("small", {}, `with ${redundantWith}`) : null,
      ];
    },
    columns,
    details: conceptDetails,
    tie: (i) => ours.value[i],
  });
}
