"""Area under the ROC curve of many scores at once. Ties count half, and texts of neither class do not count.

It is the probability that a positive text scores higher than a negative one (Mann-Whitney U over the number of pairs).
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

NUMBERS_AT_A_TIME = 2**22
"""Bound on texts times concepts in one step; each number takes about 100 bytes while its column is sorted."""


def auroc(
    scores: Float[Tensor, "text concept"],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
) -> Float[Tensor, " concept"]:
    """Compute the AUROC of every concept's scores on its own labels, float64 in [0, 1].

    Args:
        scores: higher for texts that carry the concept.
        positive, negative: labels; texts that are neither do not count.

    Returns:
        NaN for a concept with an empty class, or with a NaN among its scores.
    """
    known = positive.any(dim=0) & negative.any(dim=0) & ~scores.isnan().any(dim=0)
    if not known.all():
        result = torch.full(known.shape, torch.nan, dtype=torch.float64, device=scores.device)
        if known.any():
            result[known] = auroc(*(each[:, known] for each in (scores, positive, negative)))
        return result
    at_once = max(1, NUMBERS_AT_A_TIME // max(1, len(scores)))
    if scores.shape[1] > at_once:
        parts = zip(*(torch.split(each, at_once, dim=1) for each in (scores, positive, negative)), strict=True)
        return torch.cat([auroc(*part) for part in parts])
    values, order = rearrange(scores, "text concept -> concept text").contiguous().sort(dim=1)
    plus, minus = (rearrange(each, "text concept -> concept text").gather(1, order) for each in (positive, negative))
    below = minus.cumsum(dim=1)
    twice = 2 * (below * plus).sum(dim=1)
    # Of a run of equal scores every text counts half of the run's negatives, whatever their order in the run.
    again = torch.zeros_like(plus)  # the score of the place before
    again[:, 1:] = values[:, 1:] == values[:, :-1]
    equal = again | again.roll(-1, dims=1)
    run = (~again[equal]).cumsum(dim=0) - 1
    n_minus = torch.zeros_like(run).index_add_(0, run, minus[equal].long())
    before = (below - minus.long())[equal][~again[equal]]
    twice.index_add_(0, equal.nonzero()[:, 0], plus[equal] * (2 * before[run] + n_minus[run] - 2 * below[equal]))
    return twice.double() / (2 * plus.sum(dim=1) * minus.sum(dim=1))


def runs(values: Float[Tensor, "text concept"]) -> tuple[Int[Tensor, "text concept"], Int[Tensor, "text concept"]]:
    """Find the first and the last place with the same value, for every place in sorted columns."""
    place = rearrange(torch.arange(len(values), device=values.device), "text -> text 1")
    starts = torch.ones_like(values, dtype=torch.bool)
    starts[1:] = values[1:] != values[:-1]
    first = torch.where(starts, place, 0).cummax(dim=0).values
    ends = starts.roll(-1, dims=0)  # the first place always starts a run, so the last one ends one
    last = torch.where(ends, place, len(values)).flip(0).cummin(dim=0).values.flip(0)
    return first, last
