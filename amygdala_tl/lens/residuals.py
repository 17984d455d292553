"""One forward pass to resid_post at the target layers, stopping above the last of them."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.records import hook_name


@torch.no_grad()
def run_resid_post(
    model: Any, tokens: Int[Tensor, "text token"], layers: Sequence[int]
) -> Float[Tensor, "text token layer d_model"]:
    """The residual stream after each of `layers`, in the model's dtype, on the model's first device.

    Padding must be on the right: attention is causal, so a pad never reaches the tokens before it and no mask is needed. The
    values at pads mean nothing.

    Args:
        model: HookedTransformer or TransformerBridge.
        tokens: token ids.
        layers: decoder layers, from 0.
    """
    names = [hook_name(layer) for layer in layers]
    device = next(model.parameters()).device
    _, cache = model.run_with_cache(
        tokens.to(device),
        names_filter=names,
        stop_at_layer=max(layers) + 1,
        return_type=None,
        return_cache_object=False,
    )
    # The bridge keeps a hook under its own name (hook_out) and answers to the alias only through its cache object.
    streams = [cache[name] if name in cache else cache[name.replace("hook_resid_post", "hook_out")] for name in names]
    stacked: Tensor = rearrange(
        [stream.to(device) for stream in streams], "layer text token d_model -> text token layer d_model"
    )
    return stacked
