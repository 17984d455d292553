"""Paired examples: one positive and one negative text a group, as contrast pairs and scenarios give them."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def pairs_of(
    positive: Bool[Tensor, " text"], negative: Bool[Tensor, " text"], groups: Int[Tensor, " text"]
) -> Int[Tensor, "pair 2"] | None:
    """Rows (positive, negative) of every group, or None if some group of the concept has not exactly one of each.

    Args:
        positive, negative: labels of one concept.
        groups: texts of a pair have the same number.
    """
    plus, minus = positive.nonzero()[:, 0], negative.nonzero()[:, 0]
    if len(plus) != len(minus) or len(plus) == 0:
        return None
    plus = plus[groups[plus].argsort(stable=True)]
    minus = minus[groups[minus].argsort(stable=True)]
    if len(torch.unique(groups[plus])) != len(plus) or not torch.equal(groups[plus], groups[minus]):
        return None
    return torch.stack([plus, minus], dim=1)
