"""Paired examples, such as contrast pairs: one positive and one negative text in each group."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def pairs_of(
    positive: Bool[Tensor, " text"], negative: Bool[Tensor, " text"], groups: Int[Tensor, " text"]
) -> Int[Tensor, "pair 2"] | None:
    """Find the rows (positive, negative) of every group; None unless each group of the concept has exactly one of each.

    Args:
        positive, negative: labels of one concept.
        groups: equal for the texts of a pair.
    """
    plus, minus = positive.nonzero()[:, 0], negative.nonzero()[:, 0]
    if len(plus) != len(minus) or len(plus) == 0:
        return None
    plus = plus[groups[plus].argsort(stable=True)]
    minus = minus[groups[minus].argsort(stable=True)]
    if len(torch.unique(groups[plus])) != len(plus) or not torch.equal(groups[plus], groups[minus]):
        return None
    return torch.stack([plus, minus], dim=1)
