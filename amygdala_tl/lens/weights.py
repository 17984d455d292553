"""What the model's own weights write and read: MLP output rows, the unembedding behind the final norm, token embeddings."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.lens.model import Lens


@dataclass(frozen=True, slots=True)
class Unembedding:
    """How a residual stream becomes logits.

    Attributes:
        matrix: [d_model, vocab].
        gain: [d_model] of the final norm.
        centred: True where the final norm takes the mean over d_model away (LayerNorm), False where not (RMSNorm).
    """

    matrix: Float[Tensor, "d_model vocab"]
    gain: Float[Tensor, " d_model"]
    centred: bool


def mlp_outputs(loaded: Lens) -> Iterator[tuple[int, Float[Tensor, "neuron d_model"]]]:
    """(layer, rows that each MLP neuron adds to the stream) of every layer that has one plain MLP, one layer at a time."""
    for layer, block in enumerate(loaded.model.blocks):
        try:
            rows = block.mlp.W_out
        except AttributeError:  # no MLP of this kind: experts, for example
            continue
        if isinstance(rows, Tensor) and rows.ndim == 2 and rows.shape[1] == loaded.info.d_model:
            yield layer, rows.detach().float().cpu()


def unembedding(loaded: Lens) -> Unembedding:
    """The unembedding and the final norm, without folding.

    The norm's gain is measured, not read: engines and architectures keep it under different names, and some (Gemma) keep it
    less one. A vector of +1 and -1 has mean 0 (for an even d_model) and length 1 in the norm's eyes, so it comes out as gain
    times itself.
    """
    matrix = loaded.model.W_U.detach()
    norm = loaded.model.ln_final
    signs = torch.ones(1, 1, loaded.info.d_model, device=matrix.device, dtype=matrix.dtype)
    ones = signs.clone()
    signs[..., 1::2] = -1.0
    with torch.no_grad():
        gain = (norm(signs) - norm(-signs)) / 2 * signs
        constant = (norm(ones) - norm(-ones)) / 2
    return Unembedding(
        matrix=matrix.float().cpu(),
        gain=gain[0, 0].float().cpu(),
        centred=bool(constant.norm() < 0.01 * gain.norm()),
    )


def token_embeddings(loaded: Lens) -> Float[Tensor, "vocab d_model"]:
    """Embedding of every token, without positions, up to one factor for all: Gemma multiplies by sqrt(d_model) on the way in,
    which HookedTransformer folds into the table and the bridge does not.
    """
    table: Tensor = loaded.model.W_E.detach().float().cpu()
    return table
