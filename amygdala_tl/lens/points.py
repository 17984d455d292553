"""Hook points by layer, the same on both engines, through torch's own hooks: each has a handle that removes it and nothing else.

TransformerLens's `model.hooks(...)`, and `run_with_cache` with it, reset all hooks of a model when they end, including those that
somebody else put there.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from amygdala_tl.errors import ModelError


def on_resid_post(model: Any, layer: int, function: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Call `function` with resid_post of `layer` in every forward pass; a result replaces the stream.

    Raises:
        ModelError: the model has no such layer.
    """
    if not 0 <= layer < len(model.blocks):
        raise ModelError(
            "no such layer", got=layer, need=f"0 to {len(model.blocks) - 1}", remedy="choose another layer"
        )
    point = model.blocks[layer].hook_resid_post  # the bridge resolves this alias of its own `hook_out`
    handle: RemovableHandle = point.register_forward_hook(lambda _module, _inputs, output: function(output))
    return handle


def on_positions(model: Any, layer: int, function: Callable[[Int[Tensor, "rows position"]], None]) -> RemovableHandle:
    """Call `function` with the absolute positions of the tokens before `layer` runs, in every forward pass.

    A step of KV-cached generation is one token at the position that its cache gives, not at 0. HookedTransformer hands its blocks
    the cache; Hugging Face's models hand theirs the positions.
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


def unmasked(model: Any, tokens: Int[Tensor, "text token"]) -> dict[str, Tensor]:
    """Return the argument that makes HookedTransformer attend to every token.

    Behind a tokenizer that pads on the left it takes leading tokens for padding if they have the padding's id, as BOS often does.
    """
    side = getattr(getattr(model, "tokenizer", None), "padding_side", None)
    return {"attention_mask": torch.ones_like(tokens)} if side == "left" else {}
