"""Directions in terms of the model's weights: the MLP neuron that writes a direction, and the tokens that it promotes."""

from collections.abc import Iterable, Sequence

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def best_neurons(
    w_out: Iterable[tuple[int, Float[Tensor, "_ d_model"]]],
    directions: Float[Tensor, "concept d_model"],
    upto: Sequence[int] | None = None,
) -> tuple[tuple[int, int, float] | None, ...]:
    """Find the MLP neuron with the nearest output weights for every direction: (layer, index, cosine), by |cosine|.

    Layers are looked at one at a time, so that memory is one layer's weights. Chance is not 0: of n random neurons in d
    dimensions the nearest has a cosine of about sqrt(2 ln(n) / d), which is 0.19 for 46,000 neurons in 576 and 0.06 for 600,000
    in 6,656.

    Args:
        w_out: (layer index, rows that each neuron adds to the stream).
        directions: unit rows.
        upto: last layer that can have written each concept's direction: the one that it is read at; any if None.

    Returns:
        None for a concept for which no layer was given.
    """
    best: list[tuple[int, int, float] | None] = [None] * len(directions)
    unit = F.normalize(directions.float(), dim=-1)
    for layer, rows in w_out:
        cosine = einsum(F.normalize(rows.float(), dim=-1), unit, "neuron d_model, concept d_model -> concept neuron")
        places = cosine.abs().argmax(dim=1).tolist()
        for concept, place in enumerate(places):
            value = float(cosine[concept, place])
            before = best[concept]
            within = upto is None or layer <= upto[concept]
            if within and (before is None or abs(value) > abs(before[2])):
                best[concept] = (layer, place, value)
    return tuple(best)


def logit_lens(
    directions: Float[Tensor, "concept d_model"],
    unembedding: Float[Tensor, "d_model vocab"],
    gain: Float[Tensor, " d_model"] | None = None,
    most: int = 10,
    *,
    centred: bool = False,
) -> tuple[Int[Tensor, "concept k"], Int[Tensor, "concept k"]]:
    """Find the tokens with the most raised and the most lowered logits for each direction: ids, the strongest first.

    The direction passes the final norm's gain and the unembedding (nostalgebraist 2020); the norm's division by the stream's
    length is one factor for all tokens and does not change their order.

    Args:
        directions: any length.
        unembedding: without folded norm.
        gain: of the final norm; 1 if None.
        most: tokens a side; all where there are fewer.
        centred: True for a LayerNorm, which takes the mean over d_model away; False for an RMSNorm.
    """
    moved = directions.float()
    if centred:
        moved = moved - moved.mean(dim=-1, keepdim=True)
    if gain is not None:
        moved = moved * gain.float()
    logits = einsum(moved, unembedding.float(), "concept d_model, d_model vocab -> concept vocab")
    order = torch.argsort(logits, dim=1, descending=True, stable=True)
    most = min(most, order.shape[1])
    return order[:, :most], order.flip(1)[:, :most]
