"""The same work for every concept, side by side."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Found = TypeVar("Found")

_lock = threading.Lock()
_counts: list[int] = []
"""Threads of PyTorch before each call that is under way; only the first one saw what the caller had set."""


def in_threads(function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """Apply a function to every item, in as many threads as PyTorch uses; meanwhile each of them has one thread for PyTorch."""
    with _lock:
        count = _counts[0] if _counts else torch.get_num_threads()
        _counts.append(count)
        torch.set_num_threads(1)  # threads that start threads wait for one another
    try:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(function, items))
    finally:
        with _lock:
            _counts.pop()
            torch.set_num_threads(count)
