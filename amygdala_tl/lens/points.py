"""Hook points by layer, on both engines, with torch's own hooks: each has a handle that removes it and nothing else.

TransformerLens' `model.hooks(...)` resets all hooks of a model when it ends, also those that somebody else put there.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from amygdala_tl.errors import ModelError
from amygdala_tl.records import hook_name


def on_resid_post(model: Any, layer: int, function: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Call `function` with resid_post of `layer` in every forward pass; what it returns, if anything, takes its place.

    Raises:
        ModelError: the model has no such layer.
    """
    name = hook_name(layer)
    points = model.hook_dict
    point = points.get(name, points.get(name.replace("hook_resid_post", "hook_out")))
    if point is None:
        raise ModelError(
            "no such layer", got=layer, need=f"0 to {len(model.blocks) - 1}", remedy="choose another layer"
        )
    handle: RemovableHandle = point.register_forward_hook(lambda _module, _inputs, output: function(output))
    return handle


def on_positions(model: Any, layer: int, function: Callable[[Int[Tensor, "rows position"]], None]) -> RemovableHandle:
    """Call `function` with the absolute positions of the tokens before `layer` runs, in every forward pass.

    A step of KV-cached generation is one token at the position that its cache says, not at 0. HookedTransformer hands its
    blocks the cache, Hugging Face's models hand theirs the positions.
    """

    def before(_block: Any, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        stream = inputs[0] if inputs else keywords["hidden_states"]
        positions = keywords.get("position_ids")
        if positions is None:
            cache = keywords.get("past_kv_cache_entry")
            start = 0 if cache is None else cache.past_keys.shape[1]
            positions = torch.arange(start, start + stream.shape[1], device=stream.device)[None]
        function(positions)

    handle: RemovableHandle = model.blocks[layer].register_forward_pre_hook(before, with_kwargs=True)
    return handle
