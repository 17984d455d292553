"""What all concepts' directions share is no concept: subtract their mean.

A readout of a note written with feeling, or merely a long one, answers for every concept at once; that common part makes up
most of the cosine between concepts.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.errors import FitError

FEWEST_CONCEPTS = 3
"""Of two unit vectors only their difference would be left, with one sign and the other."""


def grand_mean(vectors: Float[Tensor, "concept layer d_model"]) -> Float[Tensor, "concept layer d_model"]:
    """Unit vectors minus their mean over concepts, at each layer; not of unit length.

    They are brought to length 1 first, so that no concept decides what is common. A vector that is zero or not finite comes out
    as NaN and does not touch the others.

    Raises:
        FitError: there are fewer than 3 concepts.
    """
    if len(vectors) < FEWEST_CONCEPTS:
        raise FitError(
            "too few concepts to have something in common",
            label="grand-mean",
            got=f"{len(vectors)} concepts",
            need=f"{FEWEST_CONCEPTS} or more",
            remedy="fit more concepts, or leave grand-mean out of --denoise",
        )
    norms = vectors.float().norm(dim=-1, keepdim=True)
    units = torch.where(torch.isfinite(norms) & (norms > 0.0), vectors.float() / norms, torch.nan)
    centred: Tensor = units - units.nanmean(dim=0)
    return centred
