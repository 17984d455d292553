"""Pairs of concepts with readouts that are not independent axes, each with the reason."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.diagnostics.intervals import auroc_interval
from amygdala_tl.diagnostics.records import Interval, PairFinding, PairWarning
from amygdala_tl.diagnostics.scored import ScoredTexts

CLOSE = 0.5
"""Pairs are examined from this |cosine|, |score correlation| or phi coefficient of the labels."""

CO_OCCURRENCE = 0.2
"""Labels co-occur from this phi coefficient."""

ENOUGH = 8
"""Number of texts with only one concept, on each side, that a contrast needs."""

TOLD_APART = 0.6
"""Below this contrast (AUROC) readouts cannot separate two concepts, whatever the interval; chance is 0.5."""

UNSURE = 0.7
"""Above this contrast, an interval that reaches chance shows a lack of texts rather than of a difference."""

PAIRS_AT_A_TIME = 64
"""Number of pairs with the scores of all texts in memory at a time."""

_FINDINGS: tuple[PairFinding, ...] = ("cannot be told apart", "close readouts", "opposite ends", "happen together")


def pair_warnings(
    concepts: Sequence[str],
    cosine: Float[Tensor, "concept concept"],
    score_correlation: Float[Tensor, "concept concept"],
    label_correlation: Float[Tensor, "concept concept"],
    texts: ScoredTexts,
    generator: torch.Generator,
    read: Collection[str] | None = None,
) -> tuple[PairWarning, ...]:
    """Describe every close pair, first those that cannot be told apart, then by |score correlation|.

    A pair is examined if its |cosine|, |score correlation| or its labels' phi coefficient is at least `CLOSE`. The first rule
    that holds gives the finding:

        opposite ends          cosine or score correlation is at most -`CLOSE`
        cannot be told apart   at least `ENOUGH` texts on each side carry only one concept, and the contrast is below
                               `TOLD_APART`, or below `UNSURE` with an interval that reaches 0.5
        happen together        the phi coefficient is at least `CO_OCCURRENCE`, and the contrast's interval is above 0.5 or
                               directions and scores are not close
        close readouts         otherwise: nothing is shown

    Args:
        concepts: names.
        cosine, score_correlation, label_correlation: of the pairs.
        texts: a text carries only one concept if it is positive for it and negative for the other.
        generator: of the bootstrap.
        read: concepts to warn about, because they are read; all if None. Two readouts of nothing may well be close.
    """
    close = (cosine.abs() >= CLOSE) | (score_correlation.abs() >= CLOSE)
    opposite = (cosine <= -CLOSE) | (score_correlation <= -CLOSE)
    examined = (close | (label_correlation >= CLOSE)).triu(diagonal=1)
    if read is not None:
        kept = torch.tensor([concept in read for concept in concepts], dtype=torch.bool)
        examined &= rearrange(kept, "i -> i 1") & kept
    first, second = examined.nonzero().unbind(dim=1)
    z = (texts.scores - texts.scores.mean(dim=0)) / texts.scores.std(dim=0)
    state = generator.get_state()
    contrasts: list[Interval] = []
    n_only: list[tuple[int, int]] = []
    for one, other in zip(torch.split(first, PAIRS_AT_A_TIME), torch.split(second, PAIRS_AT_A_TIME), strict=True):
        generator.set_state(state)  # all pairs share the replicates
        one_only, other_only = (texts.positive[:, a] & texts.negative[:, b] for a, b in ((one, other), (other, one)))
        contrasted = replace(texts, scores=z[:, one] - z[:, other], positive=one_only, negative=other_only)
        contrasts.append(auroc_interval(contrasted, generator))
        n_only.extend(zip(one_only.sum(dim=0).tolist(), other_only.sum(dim=0).tolist(), strict=True))
    contrast = Interval(*(torch.cat([getattr(each, end) for each in contrasts]) for end in ("value", "low", "high")))
    found = []
    for pair, (i, j, n) in enumerate(zip(first.tolist(), second.tolist(), n_only, strict=True)):
        numbers = _numbers(contrast, pair)
        together = bool(label_correlation[i, j] >= CO_OCCURRENCE)
        found.append(
            PairWarning(
                first=concepts[i],
                second=concepts[j],
                finding="opposite ends"
                if opposite[i, j]
                else _finding(numbers, min(n), together=together, close=bool(close[i, j])),
                cosine=float(cosine[i, j]),
                score_correlation=float(score_correlation[i, j]),
                label_correlation=float(label_correlation[i, j]),
                contrast=numbers,
                n_first_only=n[0],
                n_second_only=n[1],
            )
        )
    return tuple(sorted(found, key=lambda warning: (_FINDINGS.index(warning.finding), -abs(warning.score_correlation))))


def _finding(contrast: tuple[float, float, float], n_fewer: int, *, together: bool, close: bool) -> PairFinding:
    value, low, _ = contrast
    if n_fewer >= ENOUGH and (value < TOLD_APART or (low <= 0.5 and value < UNSURE)):
        return "cannot be told apart"
    if together and (low > 0.5 or not close):
        return "happen together"
    return "close readouts"


def _numbers(interval: Interval, pair: int) -> tuple[float, float, float]:
    """Return value, low and high; all NaN without a value."""
    value, low, high = (float(end[pair]) for end in (interval.value, interval.low, interval.high))
    return (value, value, value) if value != value else (value, low, high)
