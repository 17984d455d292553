"""Area under the ROC curve of many scores at once, with ties counted half and texts that belong to neither class left out.

It is the probability that a positive text scores higher than a negative one (Mann-Whitney U over the number of pairs).
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor


def auroc(
    scores: Float[Tensor, "text concept"],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
) -> Float[Tensor, " concept"]:
    """AUROC of every concept's scores on its own labels, float64 in [0, 1]; NaN for a concept without both classes.

    Args:
        scores: higher for texts that carry the concept.
        positive, negative: labels; texts that are neither do not count.
    """
    values, order = scores.sort(dim=0)
    plus = positive.gather(0, order).double()
    minus = negative.gather(0, order).double()
    through = minus.cumsum(dim=0)
    # Within a run of equal scores every text sees half of the run's negatives: those up to its end and up to its start.
    text = rearrange(torch.arange(len(values), device=values.device), "text -> text 1")
    starts = torch.ones_like(values, dtype=torch.bool)
    starts[1:] = values[1:] != values[:-1]
    first = torch.where(starts, text, 0).cummax(dim=0).values
    ends = torch.ones_like(starts)
    ends[:-1] = starts[1:]
    last = torch.where(ends, text, len(values) - 1).flip(0).cummin(dim=0).values.flip(0)
    below = torch.where(first > 0, through.gather(0, (first - 1).clamp_min(0)), 0.0)
    wins = (plus * (below + through.gather(0, last)) / 2).sum(dim=0)
    result: Tensor = wins / (plus.sum(dim=0) * minus.sum(dim=0))
    return result
