"""Directions in the model's own weights: MLP output rows, the unembedding behind the final norm, token embeddings."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.lens.model import Lens


@dataclass(frozen=True, slots=True)
class Unembedding:
    """The map from residual stream to logits.

    Attributes:
        matrix: [d_model, vocab].
        gain: [d_model] of the final norm.
        centred: True if the final norm removes the mean over d_model (LayerNorm), False if not (RMSNorm).
    """

    matrix: Float[Tensor, "d_model vocab"]
    gain: Float[Tensor, " d_model"]
    centred: bool


def mlp_outputs(loaded: Lens) -> Iterator[tuple[int, Float[Tensor, "neuron d_model"]]]:
    """Yield (layer, rows that the MLP neurons add to the stream) for every layer with one plain MLP."""
    for layer, block in enumerate(loaded.model.blocks):
        try:
            rows = block.mlp.W_out
        except AttributeError:  # another kind of MLP, such as experts
            continue
        if isinstance(rows, Tensor) and rows.ndim == 2 and rows.shape[1] == loaded.info.d_model:
            yield layer, rows.detach().float().cpu()


def unembedding(loaded: Lens) -> Unembedding:
    """Return the unembedding and the final norm's gain, which is 1 where it is folded into the matrix.

    The gain is measured, because engines and architectures keep it under different names, and some (Gemma) store it minus one.
    A vector of alternating +1 and -1 has mean 0 (for an even d_model) and root mean square 1, so the norm multiplies it by the
    gain only.
    """
    matrix = loaded.model.W_U.detach()
    norm = loaded.model.ln_final
    device = next(norm.parameters(), matrix).device
    ones = torch.ones(1, 1, loaded.info.d_model, device=device, dtype=matrix.dtype)
    signs = ones.clone()
    signs[..., 1::2] = -1.0
    with torch.no_grad():
        gain = (norm(signs) - norm(-signs)) / 2 * signs
        constant = (norm(ones) - norm(-ones)) / 2
    centred = bool(constant.norm() < 0.01 * gain.norm())
    return Unembedding(matrix.float().cpu(), gain[0, 0].float().cpu(), centred)


def token_embeddings(loaded: Lens) -> Float[Tensor, "vocab d_model"]:
    """Return the embedding of every token, without positions, up to one common factor.

    Gemma multiplies by sqrt(d_model) on the way in; HookedTransformer folds that into the table and the bridge does not.
    """
    table: Tensor = loaded.model.W_E.detach().float().cpu()
    return table
