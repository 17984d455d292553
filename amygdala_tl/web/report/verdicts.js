// The verdict table: what to believe of each readout, with the numbers behind it.

/** @import { Diagnosis } from "./types.d.ts" */
import { el, mark } from "../dom.js";
import { fixed, known, pValue, range } from "../numbers.js";
import { column, sortableTable, WIDE, WIDE_UP } from "../sortable.js";
import { conceptDetails } from "./details.js";
import { slug, VERDICTS } from "./looks.js";

/** @param {Diagnosis} diagnosis */
export function showVerdicts(diagnosis) {
  const { concepts, quality, evaluation } = diagnosis;
  const { permutationNull, bagOfWords, p, nPositive, nNegative } = evaluation;
  const { value, low, high } = evaluation.auroc;
  const three = (/** @type {(number | null)[]} */ list) => list.map((each) => fixed(each));
  const layers = quality.map(({ layer }) => layer);
  const counts = nPositive.map((positive, i) => `${positive} / ${nNegative[i]}`);
  const ahead = bagOfWords.map((words, i) => known(words) && known(value[i]) && words >= value[i]);
  sortableTable({
    id: "verdict",
    names: concepts,
    verdicts: VERDICTS,
    verdictOf: quality.map(({ verdict }) => verdict),
    showVerdict: (i) => {
      const { verdict, redundantWith } = quality[i];
      const other = redundantWith ? el("small", {}, `with ${redundantWith}`) : null;
      return [el("span", { class: `v-${slug(verdict)}` }, mark(slug(verdict)), verdict), other];
    },
    columns: [
      column("AUROC", "on held-out texts", value, three(value)),
      column(
        "95% interval",
        "sorts by its lower end",
        low,
        low.map((from, i) => range(from, high[i])),
        WIDE,
      ),
      column("Null", "95% of permuted labels stay below this", permutationNull, three(permutationNull), WIDE),
      column("Bag of words", "AUROC of word counts on the same texts", bagOfWords, three(bagOfWords), {
        ...WIDE,
        bold: ahead,
      }),
      column("p", "permutation test, corrected for the number of concepts", p, p.map(pValue), WIDE_UP),
      column("Layer", "where it is read", layers, layers.map(String), WIDE_UP),
      column("Pos. / neg.", "held-out texts; sorts by positives", nPositive, counts, WIDE),
    ],
    details: (i) => conceptDetails(diagnosis, i),
    tie: value,
  });
}
