"""Folds for cross-validation that never cut a group."""

import torch
from jaxtyping import Int
from torch import Tensor


def group_folds(groups: Int[Tensor, " text"], n_folds: int, seed: int = 0) -> Int[Tensor, " text"]:
    """Number of the fold, 0 to n_folds - 1, of every text; texts of one group share it, and folds have like numbers of groups.

    Args:
        groups: equal for texts that must stay together.
        n_folds: at least 2.
        seed: of the assignment.
    """
    names, fold_of_name = fold_assignment(groups, n_folds, seed)
    return folds_of(groups, names, fold_of_name)


def fold_assignment(
    groups: Int[Tensor, " text"], n_folds: int, seed: int = 0
) -> tuple[Int[Tensor, " group"], Int[Tensor, " group"]]:
    """The different groups, ascending, and the fold of each, for `folds_of`: of a corpus whose texts come in parts."""
    names = torch.unique(groups)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    fold_of_name = torch.empty(len(names), dtype=torch.long)
    fold_of_name[order] = torch.arange(len(names)) % n_folds
    return names, fold_of_name


def folds_of(
    groups: Int[Tensor, " text"], names: Int[Tensor, " group"], fold_of_name: Int[Tensor, " group"]
) -> Int[Tensor, " text"]:
    """The fold of each text whose group is among `names`."""
    folds: Tensor = fold_of_name[torch.searchsorted(names, groups)]
    return folds
