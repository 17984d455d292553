"""What may be believed of each readout, from held-out intervals against nulls, with the reason in one sentence.

Rules, the first that holds:

    not readable   permuted labels do as well (p > 0.05 after Holm's correction over concepts), or the AUROC's interval reaches
                   0.5: there is no evidence that the readout knows the concept
    redundant      it cannot be told from another readable concept with a higher held-out AUROC, or their scores are one
                   number: reading both adds nothing
    weak           it knows something, but one random direction in twenty does as well on the same texts, or its interval is
                   wholly below what a bag of words gives: the direction adds nothing to a blind one, or to the words
    readable       otherwise

Of concepts that cannot be told from one another the one with the highest AUROC keeps its verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from amygdala_tl.diagnostics.records import Evaluation, PairWarning, Verdict

LEVEL = 0.05
"""Of the family of all concepts, by Holm's correction."""

SAME_SCORE = 0.95
"""Score correlation from which two readouts are one number, where too few texts carry one only to tell them apart."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reason.

    Attributes:
        verdict: one of four words.
        reason: one sentence for people.
        redundant_with: the concept that it cannot be told from, if the verdict is `redundant`.
    """

    verdict: Verdict
    reason: str
    redundant_with: str | None = None


def verdicts(evaluation: Evaluation, warnings: Sequence[PairWarning] = ()) -> tuple[Judgement, ...]:
    """Judgement of every concept, in the order of the evaluation's.

    Args:
        evaluation: on texts that the directions were not fitted on; a NaN baseline or random null is not compared with.
        warnings: pairs, from scores of the same texts at the same layers; pairs of other concepts are ignored.
    """
    concepts = evaluation.concepts
    unreadable = [_not_readable(evaluation, place) for place in range(len(concepts))]
    auroc = {concept: float(value) for concept, value in zip(concepts, evaluation.auroc.value, strict=True)}
    readable = [concept for concept, reason in zip(concepts, unreadable, strict=True) if reason is None]
    kept: list[str] = []
    twin: dict[str, PairWarning] = {}
    for concept in sorted(readable, key=lambda concept: -auroc[concept]):
        found = _inseparable(concept, kept, warnings)
        if found is None:
            kept.append(concept)
        else:
            twin[concept] = found
    judged = []
    for place, (concept, reason) in enumerate(zip(concepts, unreadable, strict=True)):
        if reason is not None:
            judged.append(Judgement("not readable", reason))
        elif concept in twin:
            judged.append(_redundant(concept, twin[concept], auroc))
        else:
            judged.append(_weak(evaluation, place) or _readable(evaluation, place))
    return tuple(judged)


def _not_readable(evaluation: Evaluation, place: int) -> str | None:
    value, low = float(evaluation.auroc.value[place]), float(evaluation.auroc.low[place])
    p_value = float(evaluation.p_value[place])
    if value != value:
        counts = f"{int(evaluation.n_positive[place])} positive, {int(evaluation.n_negative[place])} negative"
        return f"No AUROC can be computed on held-out texts ({counts})."
    if not p_value <= LEVEL:
        return f"Shuffled labels do as well: AUROC {value:.2f}, corrected p {p_value:.2f}."
    if low <= 0.5:
        return f"The AUROC of {value:.2f} may be chance: {_interval(evaluation, place)}."
    return None


def _inseparable(concept: str, kept: Sequence[str], warnings: Sequence[PairWarning]) -> PairWarning | None:
    """The warning that ties a concept most to one that is kept."""
    ties = [
        warning
        for warning in warnings
        if (warning.finding == "cannot be told apart" or _same_score(warning))
        and concept in (warning.first, warning.second)
        and _other(warning, concept) in kept
    ]
    return max(ties, key=lambda warning: abs(warning.score_correlation), default=None)


def _same_score(warning: PairWarning) -> bool:
    told_apart = warning.contrast[1] > 0.5
    return warning.score_correlation >= SAME_SCORE and not told_apart


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
    value, high = float(evaluation.auroc.value[place]), float(evaluation.auroc.high[place])
    random, words = float(evaluation.random_null[place]), float(evaluation.bag_of_words[place])
    # The null has the sampling error of these texts in it already, so the estimate and not its interval is held against it.
    if value <= random:
        reason = f"One random direction in twenty does as well: {random:.2f} against {value:.2f}."
        return Judgement("weak", reason)
    if high < words:
        reason = f"The words alone tell more: {words:.2f} against {_interval(evaluation, place)}."
        return Judgement("weak", reason)
    return None


def _readable(evaluation: Evaluation, place: int) -> Judgement:
    value, random = float(evaluation.auroc.value[place]), float(evaluation.random_null[place])
    # A random null that was not computed is not compared with.
    against = "" if random != random else f", above random directions ({random:.2f})"
    return Judgement("readable", f"AUROC {value:.2f}, {_interval(evaluation, place)}{against}.")


def _interval(evaluation: Evaluation, place: int) -> str:
    return f"95% interval {float(evaluation.auroc.low[place]):.2f} to {float(evaluation.auroc.high[place]):.2f}"
