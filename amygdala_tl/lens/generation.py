"""Generation token by token, with or without a KV cache, the same on both engines."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.growing import GrowingText
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
    text = GrowingText(loaded, len(whole)) if cached else None
    for step in range(new_tokens):
        logits = loaded.model(whole)[:, -1].float() if text is None else text.run(step_input)
        if noise is not None:
            logits = logits / temperature + noise(step, logits.shape[-1]).to(logits.device)
        step_input = logits.argmax(dim=-1, keepdim=True)
        whole = torch.cat([whole, step_input], dim=1)
    return whole[:, tokens.shape[1] :]


def end_tokens(loaded: Lens) -> frozenset[int]:
    """Return the tokens at which the model ends a text or a turn."""
    said = getattr(getattr(loaded.model, "original_model", None), "generation_config", None)
    listed = getattr(said, "eos_token_id", None)
    several = listed if isinstance(listed, list) else [listed]
    return frozenset(int(token) for token in (*several, loaded.tokenizer.eos_token_id) if token is not None)
