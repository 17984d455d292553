"""Texts counted by groups, for a bootstrap over groups: the work of a draw does not grow with the number of pairs of texts.

The places of one class are sorted. A text of the other class counts from the first place that it does not exceed, so a cumulative
sum over places holds all counts.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PLACES_AT_A_TIME = 2048


def group_wins(
    scores: Float[Tensor, " text"],
    positive: Bool[Tensor, " text"],
    negative: Bool[Tensor, " text"],
    index: Int[Tensor, " text"],
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Float[Tensor, "plus minus"]]:
    """Count the texts of each class by group, and the pairs that a group's positive texts win (ties half).

    Args:
        scores: float64.
        positive, negative: labels, at least one text each.
        index: number of each text's group.

    Returns:
        The groups with positive texts and their counts, the same of the negative ones, and the pairs.
    """
    if int(positive.sum()) > int(negative.sum()):  # a negative text that scores lower wins with both signs turned
        minus, plus, wins = group_wins(-scores, negative, positive, index)
        return plus, minus, wins.T
    groups_plus, of_plus, n_plus = torch.unique(index[positive], return_inverse=True, return_counts=True)
    groups_minus, of_minus, n_minus = torch.unique(index[negative], return_inverse=True, return_counts=True)
    places, order = scores[positive].sort()
    wins = scores.new_zeros(len(groups_plus), len(groups_minus))
    reached = scores.new_zeros(len(groups_minus))
    first, beyond = (torch.searchsorted(places, scores[negative], right=right) for right in (False, True))
    for start in range(0, len(places), PLACES_AT_A_TIME):
        of_part = of_plus[order][start : start + PLACES_AT_A_TIME]
        below = scores.new_zeros(len(of_part), len(groups_minus))
        for place in (first, beyond):  # half from the first equal place on, half from the first higher one on
            inside = (place >= start) & (place < start + len(of_part))
            added = torch.full_like(scores[negative][inside], 0.5)
            below.index_put_((place[inside] - start, of_minus[inside]), added, accumulate=True)
        below[0] += reached
        below = below.cumsum(dim=0)
        reached = below[-1]
        wins.index_add_(0, of_part, below)
    return (groups_plus, n_plus.double()), (groups_minus, n_minus.double()), wins


def drawn_up_to(
    places: Float[Tensor, " place"],
    values: Float[Tensor, " value"],
    drawn: Float[Tensor, "group draw"],
    index: Int[Tensor, " value"],
) -> Float[Tensor, "place draw"]:
    """Sum, for each of the rising places, how often each draw holds the groups of the values up to it."""
    result = drawn.new_zeros(len(places) + 1, drawn.shape[1])  # the last row takes what lies above all places
    first = torch.searchsorted(places, values)
    for some in torch.split(torch.arange(len(values)), PLACES_AT_A_TIME):
        result.index_add_(0, first[some], drawn[index[some]])
    return result[:-1].cumsum(dim=0)
