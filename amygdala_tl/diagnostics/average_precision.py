"""Average precision of many concepts at once: the mean over positive texts of the precision at their score.

It is the area under the precision-recall curve without interpolation, as scikit-learn computes it. Unlike AUROC it depends on the
frequency of the concept: a random readout reaches the share of positive texts.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.directions.auroc import NUMBERS_AT_A_TIME, runs


def average_precision(
    scores: Float[Tensor, "text concept"],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
) -> Float[Tensor, " concept"]:
    """Compute the average precision of every concept's scores on its own labels, float64 in [0, 1]; NaN for an empty class.

    Args:
        scores: higher for texts that carry the concept.
        positive, negative: labels; texts that are neither do not count.
    """
    at_once = max(1, NUMBERS_AT_A_TIME // max(1, len(scores)))
    if scores.shape[1] > at_once:
        parts = zip(*(torch.split(each, at_once, dim=1) for each in (scores, positive, negative)), strict=True)
        return torch.cat([average_precision(*part) for part in parts])
    values, order = scores.sort(dim=0, descending=True)
    plus, minus = positive.gather(0, order).double(), negative.gather(0, order).double()
    _, last = runs(values)
    found, wrong = plus.cumsum(dim=0).gather(0, last), minus.cumsum(dim=0).gather(0, last)
    n_positive = plus.sum(dim=0)
    precision = torch.where(plus > 0, found / (found + wrong), 0.0)
    result: Tensor = (plus * precision).sum(dim=0) / n_positive
    return result.masked_fill((minus.sum(dim=0) == 0) | scores.isnan().any(dim=0), torch.nan)
