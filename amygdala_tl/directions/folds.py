"""Folds for cross-validation that never cut a group."""

import torch
from jaxtyping import Int
from torch import Tensor


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
