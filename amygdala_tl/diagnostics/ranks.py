"""AUROC from ranks, for many orders of the same texts: many scores of one label, or many permutations of it.

A text of the rarer class beats all texts with a lower rank, less those of its own class and those of neither class. The sum of
its class's ranks counts the first and a constant the second (Mann & Whitney 1947). Only the third takes a sort, of these two
classes; where fewer texts are of the other class than of neither, the sort counts wins against the other class instead. All
counts are integers.
"""

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from amygdala_tl.diagnostics.threads import in_threads


def twice_ranks(scores: Float[Tensor, "row text"]) -> NDArray[np.int32]:
    """Compute twice every text's rank in its row, [row, text] from 0; equal scores share their mean rank. NaN counts as 0."""
    rows = scores.nan_to_num().numpy()
    ranks = np.empty(rows.shape, dtype=np.int32)

    def rank(place: int) -> None:  # a third of the time of scipy.stats.rankdata
        row = rows[place]
        order = row.argsort()
        first = np.flatnonzero(np.diff(row[order], prepend=np.nan))
        behind = np.append(first[1:], len(row))
        ranks[place, order] = (first + behind - 1).repeat(behind - first)

    in_threads(rank, range(len(rows)))
    return ranks


class LabelByRanks:
    """One label, ready to be judged by ranks.

    Attributes:
        columns: [counted] texts that the AUROC follows from.
    """

    def __init__(self, positive: Bool[Tensor, " text"], negative: Bool[Tensor, " text"]) -> None:
        """Choose the texts; texts that are in neither class do not count."""
        places = [each.nonzero()[:, 0] for each in (positive, negative)]
        self._sign = 1 if len(places[0]) <= len(places[1]) else -1
        rarer, commoner = places[:: self._sign]
        neither = (~(positive | negative)).nonzero()[:, 0]
        self._direct = len(commoner) < len(neither)
        self._rarer, self._pairs = len(rarer), len(rarer) * len(commoner)
        self.columns = torch.cat([rarer, commoner if self._direct else neither]).numpy()

    def auroc(self, rows: NDArray[np.int32]) -> Float[Tensor, " row"]:
        """Compute the AUROC of every row, float64; ties count half.

        Args:
            rows: [row, counted] ranks of `columns`, from `twice_ranks` of all texts.

        Returns:
            NaN if a class is empty.
        """
        n = self._rarer
        if not self._pairs:
            return torch.full((len(rows),), torch.nan, dtype=torch.float64)
        twice = _twice_wins(rows, n)
        if not self._direct:
            twice = rows[:, :n].sum(axis=1, dtype=np.int64) - n * (n - 1) - twice
        share = torch.from_numpy(twice).double() / (2 * self._pairs)
        return share if self._sign > 0 else 1.0 - share


def _twice_wins(ranks: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Count twice the pairs of each row in which one of the first `n` ranks beats one of the others; equal ones count once."""
    rows, width = ranks.shape
    others = width - n
    if not others:
        return np.zeros(rows, dtype=np.int64)
    keys = 2 * ranks
    keys[:, n:] += 1  # odd, so that they come behind equal ranks of the first
    keys.sort(axis=1)
    flat = keys.ravel()
    odd = np.flatnonzero((flat & 1).astype(bool))
    reached = rearrange(odd, "(row other) -> row other", row=rows).sum(axis=1)
    reached -= np.arange(rows) * width * others + others * (others - 1) // 2
    twice: NDArray[np.int64] = 2 * (n * others - reached)
    # Only the first of some equal odd keys can stand behind an equal rank of the first `n`.
    tied = np.flatnonzero(flat[1:] - flat[:-1] == 1) + 1
    tied = tied[(flat[tied] % 2 == 1) & (tied % width > 0)]
    for row in np.unique(tied // width):
        own, key = keys[row], flat[tied[tied // width == row]]
        twice[row] += (
            (np.searchsorted(own, key) - np.searchsorted(own, key - 1))
            * (np.searchsorted(own, key, "right") - np.searchsorted(own, key))
        ).sum()
    return twice
