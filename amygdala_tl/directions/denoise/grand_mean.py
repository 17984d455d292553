"""Common part of all concepts' directions, which is subtracted.

The readout of a note with strong feeling, or merely of a long note, rises for every concept at once. That common part makes up
most of the cosine between concepts.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.errors import FitError

FEWEST_CONCEPTS = 3
"""From two unit vectors only their difference would remain, once with each sign."""


def grand_mean(vectors: Float[Tensor, "concept layer d_model"]) -> Float[Tensor, "concept layer d_model"]:
    """Subtract the mean over concepts from the unit vectors at each layer; the result has any length.

    The vectors are scaled to length 1 first, so that no concept dominates the mean. A vector that is zero or not finite becomes
    NaN and does not affect the others.

    Raises:
        FitError: there are fewer than 3 concepts.
    """
    if len(vectors) < FEWEST_CONCEPTS:
        what, remedy = "too few concepts to have a common part", "fit more concepts, or leave grand-mean out of denoise"
        got, need = f"{len(vectors)} concepts", f"{FEWEST_CONCEPTS} or more"
        raise FitError(what, label="grand-mean", got=got, need=need, remedy=remedy)
    norms = vectors.float().norm(dim=-1, keepdim=True)
    units = torch.where(torch.isfinite(norms) & (norms > 0.0), vectors.float() / norms, torch.nan)
    centred: Tensor = units - units.nanmean(dim=0)
    return centred
