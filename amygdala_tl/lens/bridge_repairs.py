"""Workarounds for known TransformerBridge bugs.

Cohere and Cohere 2 rotate neighbouring elements of a head, (0, 1), (2, 3), ..., and their cosines come in the same order, each
one twice. The bridge of TransformerLens 3.9 rotates elements i and i + d/2 instead, as Llama does, and its stream is off by 0.2,
relative, after the first layer. It supports the other rotation for GLM, which takes cosines in two halves; so this module
reorders the cosines where they enter.
"""

from typing import Any

import torch
from torch import Tensor

_ADJACENT_PAIRS = ("cohere", "cohere2")


def repair_rotation(bridge: Any, model_type: str) -> bool:
    """Make `bridge` rotate neighbouring elements, if `model_type` does, and return whether it changed anything.

    Call it only where the bridge disagrees with the model, and compare again.
    """
    if model_type not in _ADJACENT_PAIRS:
        return False
    for block in bridge.blocks:
        block.attn.config.rotary_adjacent_pairs = True  # the adapter's configuration, not the bridge's
        for point in (block.attn.hook_cos, block.attn.hook_sin):
            point.add_perma_hook(_in_two_halves)
    return True


def _in_two_halves(interleaved: Tensor, hook: Any) -> Tensor:
    """Reorder a, a, b, b, ... to a, b, ..., a, b, ..."""
    return torch.cat([interleaved[..., ::2]] * 2, dim=-1)
