"""Texts counted by groups, for a bootstrap over groups: the work of a draw does not grow with the number of pairs of texts."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from torch import Tensor

NUMBERS_AT_A_TIME = 2**21
"""Bound on places times draws that a thread counts together; with the caller's own, each takes some 20 bytes for that time."""


def counted_up_to(
    places: Float[Tensor, " place"],
    values: Float[Tensor, " value"],
    index: Int[Tensor, " value"],
    draws: Float[Tensor, "draw group"],
    *,
    ties: float = 1.0,
) -> Iterator[tuple[Float[Tensor, "group some"], Float[Tensor, "place some"]]]:
    """Sum, for each of the rising places, how often each draw holds the groups of the values up to it.

    Args:
        places: sorted.
        values: that are counted.
        index: number of each value's group.
        draws: how often each draw holds each group.
        ties: how much a value counts that is equal to the place.

    Yields:
        Some of the draws, and their sums; float32, in which whole numbers and halves are exact up to 2^23.
    """
    first, beyond = (torch.searchsorted(places, values, right=right).numpy() for right in (False, True))
    rows, columns = np.concatenate([first, beyond]), index.repeat(2).numpy()
    weights = np.repeat(np.array([ties, 1.0 - ties], dtype=np.float32), len(values))
    shape = (len(places) + 1, draws.shape[1])  # the last row takes what lies above all places
    counts = csr_array((weights, (rows, columns)), shape=shape)
    for some in torch.split(draws, max(1, NUMBERS_AT_A_TIME // max(1, len(places)))):
        drawn = np.ascontiguousarray(some.T.numpy(), dtype=np.float32)
        yield torch.from_numpy(drawn), torch.from_numpy(counts @ drawn)[:-1].cumsum(dim=0)
