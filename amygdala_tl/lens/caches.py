"""What a model keeps of the tokens that it has run, and the arguments by which a pass goes on behind them."""

import functools
import inspect
from typing import Any

from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache


def empty_cache(model: Any, batch: int = 1) -> tuple[str, Any]:
    """Return the name of the argument that takes a cache, and an empty cache.

    Args:
        model: HookedTransformer or TransformerBridge.
        batch: how many texts run at once.
    """
    if original := getattr(model, "original_model", None):
        return _argument(model), DynamicCache(config=original.config)
    from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

    return "past_kv_cache", TransformerLensKeyValueCache.init_cache(model.cfg, next(model.parameters()).device, batch)


def behind(argument: str, cache: Any, mask: Int[Tensor, "batch position"]) -> dict[str, Any]:
    """Return the arguments of a pass of more tokens of each text; `mask` is 1 for all of them."""
    if argument == "past_kv_cache":  # with a cache, HookedTransformer needs a mask, or a tokenizer to make one
        return {argument: cache, "attention_mask": mask}
    return {argument: cache, "use_cache": True}


def _argument(bridge: Any) -> str:
    """Return the name that the Hugging Face model behind `bridge` gives a cache, and let the bridge's attention know it.

    transformers 5.24 renamed `past_key_values` to `cache`. Attention of TransformerLens 4.3 knows the old name only: new tokens
    would attend to one another, and to nothing before them.
    """
    if "cache" not in inspect.signature(bridge.original_model.forward).parameters:
        return "past_key_values"
    for block in bridge.blocks:
        attention = getattr(block, "attn", None)
        update = getattr(attention, "_update_kv_cache", None)
        if update is not None and "_update_kv_cache" not in vars(attention):  # setattr may reach the layer behind it
            vars(attention)["_update_kv_cache"] = functools.partial(_by_old_name, update)
    return "cache"


def _by_old_name(update: Any, *states: Tensor, cache: Any = None, **options: Any) -> Any:
    return update(*states, **({} if cache is None else {"past_key_values": cache}) | options)
