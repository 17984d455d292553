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
    names, index = torch.unique(groups, return_inverse=True)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    fold_of_group = torch.empty(len(names), dtype=torch.long)
    fold_of_group[order] = torch.arange(len(names)) % n_folds
    return fold_of_group[index]
