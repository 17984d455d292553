"""The same work for every concept, side by side."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Found = TypeVar("Found")


def in_threads(function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """Apply a function to every item, in as many threads as PyTorch uses; in each of them, PyTorch's operations have one."""
    with ThreadPoolExecutor(torch.get_num_threads(), initializer=_alone) as pool:
        return list(pool.map(function, items))


def _alone() -> None:
    """Let OpenMP start no threads from this one. `torch.set_num_threads` would be for new threads of the whole process too."""
    torch.get_num_threads()  # takes over PyTorch's default first
    _openmp().limit(limits=1)


@cache
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="openmp")
