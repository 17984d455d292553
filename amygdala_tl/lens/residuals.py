"""One forward pass to resid_post at the target layers, stopping above the last of them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.lens.points import on_resid_post, unmasked


@torch.no_grad()
def run_resid_post(
    model: Any, tokens: Int[Tensor, "text token"], layers: Sequence[int]
) -> Float[Tensor, "text token layer d_model"]:
    """Return the residual stream after each of `layers`, in the model's dtype, on the model's first device.

    The model's own hooks fire, and stay. Padding must be on the right: attention is causal, so a pad never reaches the tokens
    before it and no mask is needed. The values at pads mean nothing.

    Args:
        model: HookedTransformer or TransformerBridge.
        tokens: token ids.
        layers: decoder layers, from 0.
    """
    device = next(model.parameters()).device
    tokens = tokens.to(device)
    return read_streams(
        model,
        layers,
        {},
        lambda: model(tokens, return_type=None, stop_at_layer=max(layers) + 1, **unmasked(model, tokens)),
    ).to(device)


def read_streams(
    model: Any, layers: Sequence[int], known: Mapping[int, Tensor], run: Callable[[], object]
) -> Float[Tensor, "text token layer d_model"]:
    """Run, and stack resid_post of `layers` after all edits; streams in `known` are taken as they are."""
    seen: dict[int, Tensor] = dict(known)
    with ExitStack() as stack:
        for layer in set(layers) - set(known):

            def keep(value: Tensor, layer: int = layer) -> None:
                seen[layer] = value

            stack.callback(on_resid_post(model, layer, keep).remove)
        run()
    device = seen[layers[-1]].device
    stacked: Tensor = rearrange(
        [seen[layer].to(device) for layer in layers], "layer text token d_model -> text token layer d_model"
    )
    return stacked
