"""resid_post at a readout's layers, from what a forward pass leaves: a cache, a mapping of hook names, or hidden states."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from amygdala_tl.errors import InputError
from amygdala_tl.records import hook_name


def stacked_streams(cache: Any, layers: Sequence[int], hooks: Mapping[str, str]) -> Tensor:
    """Return the streams [..., layer, d_model] at these layers.

    Args:
        cache: an ActivationCache, a mapping of hook names, or the `hidden_states` of a Hugging Face model.
        layers: layer indices.
        hooks: layer -> name of its hook, where it is not TransformerLens's.

    Raises:
        InputError: a layer is missing.
    """
    if isinstance(cache, Sequence):
        if max(layers) + 1 >= len(cache) - 1:  # the last hidden state is after the final norm
            what, got = "the hidden states do not reach the layer", f"{len(cache)} states"
            need = f"state {max(layers) + 1}, and not the last"
            raise InputError(what, got=got, need=need, remedy="wrap the model, and run it with a cache")
        found = [cache[layer + 1] for layer in layers]
    else:
        found = [_stream(cache, hooks.get(str(layer), hook_name(layer))) for layer in layers]
    return torch.stack([stream.to(found[0].device) for stream in found], dim=-2)


def _stream(cache: Any, name: str) -> Tensor:
    for alias in (name, name.replace("hook_resid_post", "hook_out")):  # the bridge's own name
        try:
            stream: Tensor = cache[alias]
        except KeyError:
            continue
        return stream
    raise InputError("the cache does not hold the layer", got=f"no {name}", remedy="run the model with this hook")
