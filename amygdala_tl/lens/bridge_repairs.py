"""What TransformerBridge is known to compute otherwise than the model that it bridges, and can be told to compute right.

Cohere and Cohere 2 rotate neighbouring elements of a head, (0, 1), (2, 3), ..., by cosines that stand twice side by side. The
bridge of TransformerLens 3.9 rotates the elements i and i + d/2 of them, as Llama does: its stream is 0.2 off, relative, behind
the first layer. It has the other rotation for GLM, by cosines that stand in two halves; so they are put into that order where
they enter.
"""

from typing import Any

import torch
from torch import Tensor

_ADJACENT_PAIRS = ("cohere", "cohere2")


def repair_rotation(bridge: Any, model_type: str) -> bool:
    """Let `bridge` rotate neighbouring elements, if `model_type` does.

    To be called only where the bridge disagrees with the model, and to be judged by whether it agrees then.

    Returns:
        Whether anything was changed.
    """
    if model_type not in _ADJACENT_PAIRS:
        return False
    for block in bridge.blocks:
        block.attn.config.rotary_adjacent_pairs = True  # the adapter's configuration, which is not the bridge's
        for point in (block.attn.hook_cos, block.attn.hook_sin):
            point.add_perma_hook(_in_two_halves)
    return True


def _in_two_halves(interleaved: Tensor, hook: Any) -> Tensor:
    """a, a, b, b, ... -> a, b, ..., a, b, ..."""
    half = interleaved[..., ::2]
    return torch.cat([half, half], dim=-1)
