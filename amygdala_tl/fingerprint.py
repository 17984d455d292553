"""A fingerprint of a model's weights that is cheap at any size and the same in float32 and bfloat16."""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SAMPLES_PER_TENSOR = 4096

RENAMED = "tl-"
"""Prefix of a fingerprint over the parameters of TransformerLens, which no checkpoint can have."""


def tensors_fingerprint(tensors: Iterable[tuple[str, "torch.Tensor"]]) -> str:
    """sha256, hexadecimal, over name, shape and evenly spaced values of every tensor, in the order given.

    Values are rounded to bfloat16, so that one checkpoint has one fingerprint whether it is loaded in float32 or bfloat16.
    A fine-tuned model differs; two models that differ only between samples do not.

    Args:
        tensors: names with tensors, in the order of their names.
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in tensors:
        flat = tensor.detach().reshape(-1)
        step = max(1, -(-flat.numel() // SAMPLES_PER_TENSOR))
        sample = flat[::step].to(device="cpu", dtype=torch.bfloat16).view(torch.int16)
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()
