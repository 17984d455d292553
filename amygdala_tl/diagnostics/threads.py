"""The same work for every concept, side by side."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Found = TypeVar("Found")


def in_threads(function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """Apply a function to every item, in as many threads as PyTorch uses; meanwhile each of them has one thread for PyTorch."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that start threads wait for one another
    try:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(count)
