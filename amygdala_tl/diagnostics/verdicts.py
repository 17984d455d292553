"""Verdict on each readout, from intervals of AUROC against nulls, with the reason in one sentence.

The first rule that holds gives the verdict:

    not readable   permuted labels do as well (p > 0.05, corrected over concepts), or the AUROC's interval reaches
                   0.5; and the interval ends below `GOOD`: there is evidence that the readout does not detect the concept well
    undecided      the same, but the interval reaches `GOOD`, or there is no AUROC: the texts are too few for either answer
    redundant      readouts cannot separate it from a readable concept with a higher AUROC, or their scores are the same
                   number: reading both adds nothing
    weak           it detects something, but one random direction in twenty does as well on the same texts, or its AUROC
                   is below that of a bag of words, by a paired interval: the direction adds nothing to a random one, or to
                   the words
    readable       otherwise

Of concepts that cannot be separated, the one with the highest AUROC keeps its verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import norm

from amygdala_tl.diagnostics.records import Evaluation, PairWarning, VerdictName

LEVEL = 0.05
"""Significance level for the family of all concepts."""

GOOD = 0.8
"""AUROC of a good readout. An interval that reaches from chance to here leaves open which of the two is true."""

SAME_SCORE = 0.95
"""Two readouts count as one number from this score correlation, if too few texts carry only one concept to separate them."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reason.

    Attributes:
        verdict: one of the five words.
        reason: one sentence for readers.
        redundant_with: the concept that it duplicates, if the verdict is `redundant`.
    """

    verdict: VerdictName
    reason: str
    redundant_with: str | None = None


def verdicts(evaluation: Evaluation, warnings: Sequence[PairWarning] = ()) -> tuple[Judgement, ...]:
    """Judge every concept, in the order of the evaluation.

    Args:
        evaluation: on texts that the directions were not fitted on. NaN baselines and random nulls are ignored.
        warnings: pairs, from scores of the same texts at the same layers. Pairs of other concepts are ignored.
    """
    concepts = evaluation.concepts
    unread = [_unread(evaluation, place) for place in range(len(concepts))]
    auroc = {concept: float(value) for concept, value in zip(concepts, evaluation.auroc.value, strict=True)}
    readable = [concept for concept, judgement in zip(concepts, unread, strict=True) if judgement is None]
    kept: list[str] = []
    twin: dict[str, PairWarning] = {}
    for concept in sorted(readable, key=lambda concept: -auroc[concept]):
        if (found := _inseparable(concept, kept, warnings)) is None:
            kept.append(concept)
        else:
            twin[concept] = found
    judged = []
    for place, (concept, judgement) in enumerate(zip(concepts, unread, strict=True)):
        if judgement is not None:
            judged.append(judgement)
        elif concept in twin:
            judged.append(_redundant(concept, twin[concept], auroc))
        else:
            judged.append(_weak(evaluation, place) or _readable(evaluation, place))
    return tuple(judged)


def readable_at_all(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the concepts that have evidence of being read: those neither `not readable` nor `undecided`."""
    return tuple(name for place, name in enumerate(evaluation.concepts) if _unread(evaluation, place) is None)


def _unread(evaluation: Evaluation, place: int) -> Judgement | None:
    value, low, high = (
        float(end[place]) for end in (evaluation.auroc.value, evaluation.auroc.low, evaluation.auroc.high)
    )
    p_value = float(evaluation.p_value[place])
    if value != value:
        counts = f"{int(evaluation.n_positive[place])} positive, {int(evaluation.n_negative[place])} negative"
        return Judgement("undecided", f"No AUROC can be computed ({counts}).")
    if p_value <= LEVEL and low > 0.5:
        return None
    if high >= GOOD:
        why = f"AUROC {value:.2f}, {_interval(evaluation, place)}, corrected p {p_value:.2f}"
        return Judgement("undecided", f"The texts are too few: {why}; {_more_groups(evaluation, place)}.")
    if not p_value <= LEVEL:
        return Judgement("not readable", f"Shuffled labels do as well: AUROC {value:.2f}, corrected p {p_value:.2f}.")
    return Judgement("not readable", f"The AUROC of {value:.2f} may be chance: {_interval(evaluation, place)}.")


def _more_groups(evaluation: Evaluation, place: int) -> str:
    """Say about how many more groups would decide, if the AUROC stayed what it is and its error fell with their square root."""
    value, low, high = (
        float(end[place]) for end in (evaluation.auroc.value, evaluation.auroc.low, evaluation.auroc.high)
    )
    if not 0.0 < low < high < 1.0:
        return "more groups with and without the concept would decide"
    margin, logit, good = (_logit(high) - _logit(low)) / 2, _logit(value), _logit(GOOD)
    distances = [max(logit, good - logit) / margin]  # from chance, or from a good readout
    if logit >= good - logit:
        # Permutations must be exceeded too, by more than their 95% quantile: the correction over concepts asks for a rarer one.
        rarer = float(norm.isf(LEVEL / len(evaluation.concepts)) / norm.isf(LEVEL))
        distances.append((value - 0.5) / (rarer * (float(evaluation.permutation_null[place]) - 0.5)))
    more = evaluation.n_groups * (min(distances) ** -2 - 1.0)
    rounded = max(1, round(more, 1 - int(math.log10(max(more, 1)))))
    return f"about {rounded:,.0f} more group{'s' if rounded > 1 else ''} would decide"


def _logit(share: float) -> float:
    return math.log(share / (1.0 - share))


def _inseparable(concept: str, kept: Sequence[str], warnings: Sequence[PairWarning]) -> PairWarning | None:
    """Find the warning that ties a concept most closely to one that is kept."""
    own = [each for each in warnings if concept in (each.first, each.second) and _other(each, concept) in kept]
    ties = [each for each in own if each.finding == "cannot be told apart" or _same_score(each)]
    return max(ties, key=lambda warning: abs(warning.score_correlation), default=None)


def _same_score(warning: PairWarning) -> bool:
    return warning.score_correlation >= SAME_SCORE and not warning.contrast[1] > 0.5


def _other(warning: PairWarning, concept: str) -> str:
    return warning.second if warning.first == concept else warning.first


def _redundant(concept: str, warning: PairWarning, auroc: dict[str, float]) -> Judgement:
    other = _other(warning, concept)
    if warning.finding == "cannot be told apart":
        value, low, high = warning.contrast
        why = f"texts with one of them only are told apart with AUROC {value:.2f} [{low:.2f}, {high:.2f}]"
    else:
        why = f"the two scores are one number (correlation {warning.score_correlation:.2f})"
    better = f"{other} is read better (AUROC {auroc[other]:.2f} against {auroc[concept]:.2f})"
    return Judgement("redundant", f"It cannot be told from {other}: {why}; {better}.", other)


def _weak(evaluation: Evaluation, place: int) -> Judgement | None:
    value, random = float(evaluation.auroc.value[place]), float(evaluation.random_null[place])
    against = evaluation.against_words
    low, high = float(against.low[place]), float(against.high[place])
    # The null already contains the sampling error of these texts, so it is compared with the estimate, not with its interval.
    if value <= random:
        return Judgement("weak", f"One random direction in twenty does as well: {random:.2f} against {value:.2f}.")
    if high < 0.0:
        words = float(evaluation.bag_of_words[place])
        why = f"AUROC {words:.2f} against {value:.2f}, difference {low:+.2f} to {high:+.2f}"
        return Judgement("weak", f"The words alone tell more: {why}.")
    return None


def _readable(evaluation: Evaluation, place: int) -> Judgement:
    value, random = float(evaluation.auroc.value[place]), float(evaluation.random_null[place])
    # A random null that was not computed is left out.
    against = "" if random != random else f", above random directions ({random:.2f})"
    return Judgement("readable", f"AUROC {value:.2f}, {_interval(evaluation, place)}{against}.")


def _interval(evaluation: Evaluation, place: int) -> str:
    return f"95% interval {float(evaluation.auroc.low[place]):.2f} to {float(evaluation.auroc.high[place]):.2f}"
