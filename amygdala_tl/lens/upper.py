"""The upper part of a model: from resid_post of one layer to the last one, and from there to logits.

Many edits of one prompt share everything below the edited layer, so that part runs once. HookedTransformer can start above it
(`start_at_layer`); TransformerBridge can where `PlainBlocks` skip the layers below.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.residuals import SharedPrefix, read_streams


def can_start_above(loaded: Lens) -> bool:
    """Return whether the engine can start at any layer."""
    return loaded.info.engine == "HookedTransformer" or loaded.plain is not None


@torch.no_grad()
def run_above(
    loaded: Lens,
    residual: Float[Tensor, "batch position d_model"],
    layer: int,
    read: Sequence[int],
    *,
    behind: SharedPrefix | None = None,
) -> Float[Tensor, "batch position layer d_model"]:
    """Return resid_post at the layers `read`, from resid_post of `layer`; hooks above `layer` fire.

    A layer in `read` may be `layer` itself, which gives back the input, or any above it. Needs an engine that can start above
    (`can_start_above`). Padding must be on the right. `behind` is tokens before those of every text, run from the model's input.
    """
    model, known = loaded.model, {layer: residual}
    options: dict[str, Any] = {} if behind is None else behind.options(*residual.shape[:2])
    if loaded.plain is None:
        options.pop("attention_mask", None)  # above the embedding the cache alone says how many tokens come before
        bounds = {"start_at_layer": layer + 1, "stop_at_layer": max(read) + 1}
        return read_streams(model, read, known, partial(model, residual, **bounds, **options))
    unread = torch.zeros(residual.shape[:2], dtype=torch.long, device=loaded.device)  # tokens, for their number alone
    with loaded.plain.starting_above(layer, residual):
        return read_streams(model, read, known, partial(model, unread, return_type=None, **options))


@torch.no_grad()
def head(
    loaded: Lens, stream: Float[Tensor, "*axes d_model"], vocabulary: Int[Tensor, " vocab"] | None = None
) -> Float[Tensor, "*axes some"]:
    """Return logits from resid_post of the last layer, of the tokens in `vocabulary` or of all.

    They pass the final norm, the unembedding and soft-capping.
    """
    model = loaded.model
    matrix, rows = model.W_U, stream.reshape(1, -1, stream.shape[-1])
    normed = model.ln_final(rows.to(next(model.ln_final.parameters(), rows).device)).to(matrix.device)
    if vocabulary is None:
        logits = model.unembed(normed)
    else:
        chosen = vocabulary.to(matrix.device)
        logits = normed @ matrix[:, chosen]
        if (bias := getattr(model, "b_U", None)) is not None:
            logits = logits + bias[chosen]
    cap = getattr(model.cfg, "output_logits_soft_cap", None)
    if cap is not None and cap > 0:
        logits = cap * torch.tanh(logits / cap)
    return torch.reshape(logits, (*stream.shape[:-1], -1))
