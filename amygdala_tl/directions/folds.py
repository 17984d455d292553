"""Folds for cross-validation that never cut a group."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

Folds = Int[Tensor, " text"] | None
"""Fold of each text, or None for folds of groups."""


def group_folds(groups: Int[Tensor, " text"], n_folds: int, seed: int = 0) -> Int[Tensor, " text"]:
    """Assign every text a fold, 0 to n_folds - 1. Texts of one group share a fold, and folds hold about as many groups each."""
    return folds_of(groups, *fold_assignment(groups, n_folds, seed))


def fold_assignment(
    groups: Int[Tensor, " text"], n_folds: int, seed: int = 0
) -> tuple[Int[Tensor, " group"], Int[Tensor, " group"]]:
    """Assign every group a fold, for `folds_of`: the groups in ascending order, and the fold of each."""
    names = torch.unique(groups)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).to(names.device)
    fold_of_name = torch.empty_like(order)
    fold_of_name[order] = torch.arange(len(names), device=names.device) % n_folds
    return names, fold_of_name


def folds_of(
    groups: Int[Tensor, " text"], names: Int[Tensor, " group"], fold_of_name: Int[Tensor, " group"]
) -> Int[Tensor, " text"]:
    """Look up the fold of each text; its group must be among `names`."""
    folds: Tensor = fold_of_name[torch.searchsorted(names, groups)]
    return folds


@dataclass(frozen=True, slots=True)
class Cells:
    """Parts of the texts that folds and halves are made of, so that sums over cells give the sums of both.

    Attributes:
        cell: [text], 0 to n_cells - 1; its remainder by `n_folds` is the text's fold.
        n_cells: two for each fold, or one for each group.
        n_folds: number of folds.
    """

    cell: Int[Tensor, " text"]
    n_cells: int
    n_folds: int

    @property
    def fold(self) -> Int[Tensor, " text"]:
        """Fold of each text, as `group_folds` assigns it."""
        return self.cell % self.n_folds

    def outside(self, *folds: int) -> list[int]:
        """Return the cells of all other folds."""
        return [cell for cell in range(self.n_cells) if cell % self.n_folds not in folds]

    def halves(self, splits: int, seed: int = 0) -> list[tuple[list[int], list[int]]]:
        """Draw halvings of the cells."""
        generator = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(self.n_cells, generator=generator) for _ in range(splits)]
        middle = self.n_cells // 2
        return [(sorted(order[:middle].tolist()), sorted(order[middle:].tolist())) for order in orders]


def fold_cells(groups: Int[Tensor, " text"], n_folds: int, seed: int = 0) -> Cells:
    """Assign every text a cell; there are at most as many folds as groups."""
    n_groups = len(torch.unique(groups))
    n_folds = min(n_folds, n_groups)
    n_cells = min(2 * n_folds, n_groups)
    return Cells(group_folds(groups, n_cells, seed), n_cells, n_folds)
