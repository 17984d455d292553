"""Large tensors in temporary files, which the system can take out of memory when it needs the room."""

from math import prod
from tempfile import NamedTemporaryFile

import torch
from torch import Tensor

MAPPED = 2**28
"""Tensors with more numbers than this (1 GB) are mapped from a temporary file, which need not stay in memory."""


def mapped(*shape: int) -> Tensor:
    """Return an empty float32 tensor, in a temporary file without a name if it is large."""
    if (size := prod(shape)) <= MAPPED:
        return torch.empty(shape)
    with NamedTemporaryFile() as file:  # the mapping keeps the file's content after its name is gone
        return torch.from_file(file.name, shared=True, size=size, dtype=torch.float32).reshape(shape)
