"""The upper part of a model: from resid_post of one layer to the last one, and from there to logits.

Many edits of one prompt share everything below the edited layer. HookedTransformer can start above it (`start_at_layer`), so the
shared part runs once; the bridge delegates to Hugging Face's forward pass, which cannot.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.residuals import read_streams


def can_start_above(loaded: Lens) -> bool:
    """Return whether the engine can start at any layer."""
    return loaded.info.engine == "HookedTransformer"


@torch.no_grad()
def run_above(
    loaded: Lens, residual: Float[Tensor, "batch position d_model"], layer: int, read: Sequence[int]
) -> Float[Tensor, "batch position layer d_model"]:
    """Return resid_post at the layers `read`, from resid_post of `layer`; hooks above `layer` fire.

    A layer in `read` may be `layer` itself, which gives back the input, or any above it. Needs an engine that can start above
    (`can_start_above`). Padding must be on the right.
    """
    return read_streams(
        loaded.model, read, {layer: residual},
        lambda: loaded.model(residual, start_at_layer=layer + 1, stop_at_layer=max(read) + 1),
    )  # fmt: skip


@torch.no_grad()
def head(
    loaded: Lens, stream: Float[Tensor, "*axes d_model"], vocabulary: Int[Tensor, " vocab"] | None = None
) -> Float[Tensor, "*axes some"]:
    """Return logits of the last layer's resid_post: final norm, unembedding, soft-capping.

    Args:
        loaded: the model.
        stream: resid_post of the last layer.
        vocabulary: token ids to return logits of; all of them if None.
    """
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
