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
    values, order = scores.sort(dim=0)
    plus = positive.gather(0, order).double()
    minus = negative.gather(0, order).double()
    through = minus.cumsum(dim=0)
    # Within a run of equal scores every text counts half of the run's negatives: the mean of those up to its end and its start.
    first, last = runs(values)
    below = torch.where(first > 0, through.gather(0, (first - 1).clamp_min(0)), 0.0)
    wins = (plus * (below + through.gather(0, last)) / 2).sum(dim=0)
    return wins / (plus.sum(dim=0) * minus.sum(dim=0))


def runs(values: Float[Tensor, "text concept"]) -> tuple[Int[Tensor, "text concept"], Int[Tensor, "text concept"]]:
    """Find the first and the last place with the same value, for every place in sorted columns."""
    place = rearrange(torch.arange(len(values), device=values.device), "text -> text 1")
    starts = torch.ones_like(values, dtype=torch.bool)
    starts[1:] = values[1:] != values[:-1]
    first = torch.where(starts, place, 0).cummax(dim=0).values
    ends = starts.roll(-1, dims=0)  # the first place always starts a run, so the last one ends one
    last = torch.where(ends, place, len(values)).flip(0).cummin(dim=0).values.flip(0)
    return first, last
