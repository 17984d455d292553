"""Generation token by token, with or without a KV cache, the same on both engines."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.model import Lens


@torch.no_grad()
def generate(
    loaded: Lens,
    tokens: Int[Tensor, "batch position"],
    new_tokens: int,
    *,
    noise: Callable[[int, int], Float[Tensor, "batch vocab"]] | None = None,
    temperature: float = 1.0,
    cached: bool = True,
) -> Int[Tensor, "batch step"]:
    """Return the next `new_tokens` tokens of every row. All rows have the same length, and none stops early.

    Args:
        loaded: the model; its hooks fire.
        noise: (step, size of the vocabulary) -> Gumbel noise: the argmax of logits / temperature + noise is a sample. Without
            it, generation is greedy.
        cached: keep keys and values, so that each step runs one token.

    Raises:
        ModelError: prompt and new tokens are longer than the model's context.
    """
    if (length := tokens.shape[1] + new_tokens) > loaded.info.n_ctx:
        need, remedy = f"{loaded.info.n_ctx} at most", "generate fewer tokens, or choose a model with a longer context"
        raise ModelError("the model's context is too short", label=loaded.info.id, got=length, need=need, remedy=remedy)
    whole = step_input = tokens.to(loaded.device)
    cache: Any = _empty_cache(loaded.model, len(whole)) if cached and _hooked(loaded) else None
    for step in range(new_tokens):
        logits, cache = _step(loaded, step_input, cache, cached)
        if noise is not None:
            logits = logits / temperature + noise(step, logits.shape[-1]).to(logits.device)
        chosen = logits.argmax(dim=-1, keepdim=True)
        whole = torch.cat([whole, chosen], dim=1)
        step_input = chosen if cached else whole
    return whole[:, tokens.shape[1] :]


def _hooked(loaded: Lens) -> bool:
    return loaded.info.engine == "HookedTransformer"


def _empty_cache(model: Any, batch: int) -> Any:
    """Return HookedTransformer's cache; the bridge makes its own in the first pass."""
    from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

    return TransformerLensKeyValueCache.init_cache(model.cfg, next(model.parameters()).device, batch)


def _step(
    loaded: Lens, tokens: Int[Tensor, "batch position"], cache: Any, cached: bool
) -> tuple[Float[Tensor, "batch vocab"], Any]:
    """Return logits after the last token, and the cache that holds these tokens."""
    model = loaded.model
    if _hooked(loaded):
        # With a cache it needs a mask, or a tokenizer to make one.
        mask = None if cache is None else torch.ones_like(tokens)
        return model(tokens, past_kv_cache=cache, attention_mask=mask)[:, -1].float(), cache
    if not cached:
        return model(tokens)[:, -1].float(), None
    model._capture_hf_cache = True  # as the bridge's own `generate` asks for it
    try:
        logits = model(tokens, use_cache=True, **({} if cache is None else {"past_key_values": cache}))
        held = model._last_hf_cache
        del model._last_hf_cache
    finally:
        model._capture_hf_cache = False
    return logits[:, -1].float(), held if held is not None else cache
