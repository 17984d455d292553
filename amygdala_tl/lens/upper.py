"""The upper part of a model: from resid_post of one layer to the last one, and from there to logits.

Many edits of one prompt share everything below the edited layer. HookedTransformer can start above it (`start_at_layer`), so the
shared part runs once; the bridge delegates to Hugging Face's forward pass and cannot.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.points import on_resid_post


def can_start_above(loaded: Lens) -> bool:
    """Whether the engine runs from any layer on."""
    return loaded.info.engine == "HookedTransformer"


@torch.no_grad()
def run_above(
    loaded: Lens, residual: Float[Tensor, "batch position d_model"], layer: int, read: Sequence[int]
) -> Float[Tensor, "batch position layer d_model"]:
    """resid_post at the layers `read`, all above `layer`, from resid_post of `layer`; hooks above it fire.

    The last layer may be read; a layer in `read` may be `layer` itself, which gives back what was put in. Needs an engine that
    can start above (`can_start_above`). Padding must be on the right.
    """
    return _reading(
        loaded.model, read, {layer: residual},
        lambda: loaded.model(residual, start_at_layer=layer + 1, stop_at_layer=max(read) + 1),
    )  # fmt: skip


@torch.no_grad()
def run_whole(
    loaded: Lens, tokens: Int[Tensor, "batch position"], read: Sequence[int]
) -> Float[Tensor, "batch position layer d_model"]:
    """resid_post at the layers `read` of a forward pass from the tokens on, after all hooks; on both engines."""
    tokens = tokens.to(loaded.device)
    return _reading(loaded.model, read, {}, lambda: loaded.model(tokens, return_type=None, stop_at_layer=max(read) + 1))


@torch.no_grad()
def head(
    loaded: Lens, stream: Float[Tensor, "*axes d_model"], vocabulary: Int[Tensor, " vocab"] | None = None
) -> Float[Tensor, "*axes some"]:
    """Logits of resid_post of the last layer: final norm, unembedding, soft-capping; of some token ids only, if given."""
    model = loaded.model
    flat = stream.reshape(1, -1, stream.shape[-1])
    normed = model.ln_final(flat)
    if vocabulary is None:
        logits = model.unembed(normed)
    else:
        logits = normed @ model.W_U[:, vocabulary.to(normed.device)]
        bias = getattr(model, "b_U", None)
        if bias is not None:
            logits = logits + bias[vocabulary.to(normed.device)]
    cap = getattr(model.cfg, "output_logits_soft_cap", None)
    if cap is not None and cap > 0:
        logits = cap * torch.tanh(logits / cap)
    shaped: Tensor = logits.reshape(*stream.shape[:-1], -1)
    return shaped


def _reading(model: Any, read: Sequence[int], known: dict[int, Tensor], run: Any) -> Tensor:
    """Run, and stack what the hook points of `read` saw."""
    seen: dict[int, Tensor] = dict(known)
    with ExitStack() as stack:
        for layer in set(read) - set(known):

            def keep(value: Tensor, layer: int = layer) -> None:
                seen[layer] = value

            stack.callback(on_resid_post(model, layer, keep).remove)
        run()
    device = seen[read[-1]].device
    stacked: Tensor = rearrange(
        [seen[layer].to(device) for layer in read], "layer batch position d_model -> batch position layer d_model"
    )
    return stacked
