"""Map of concepts: principal components of their directions, and their correlation with norms such as valence and arousal."""

from collections.abc import Mapping, Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.diagnostics.crosstalk import correlation
from amygdala_tl.diagnostics.records import Geometry

AXES = 3
"""Number of components; fewer with fewer concepts or dimensions."""


def geometry(
    concepts: Sequence[str],
    layer: int,
    directions: Float[Tensor, "concept d_model"],
    norms: Mapping[str, Mapping[str, float]] | None = None,
) -> Geometry:
    """Compute the principal components of the directions of one layer, centred on their mean over concepts.

    The sign of an axis is arbitrary; the concept farthest from 0 gets the positive side. With few concepts, correlations with
    norms are easily large by chance: with 10 concepts one axis in twenty exceeds 0.63.

    Args:
        concepts, layer: names of the directions, and their layer.
        directions: unit rows.
        norms: name of a norm -> concept -> value; concepts are matched by case-folded name, and any may lack it.
    """
    centred = directions.double() - directions.double().mean(dim=0)
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    axes = min(AXES, len(values))
    coordinates = left[:, :axes] * values[:axes]
    farthest = coordinates.abs().argmax(dim=0, keepdim=True)
    coordinates = coordinates * torch.where(coordinates.gather(0, farthest) < 0, -1.0, 1.0)
    total = values.square().sum()
    explained = values[:axes].square() / total if total > 0 else torch.zeros(axes, dtype=values.dtype)
    given = {name: _values(concepts, norm) for name, norm in (norms or {}).items()}
    found = torch.stack([~value.isnan() for value in given.values()]).any(dim=0) if given else torch.zeros(1)
    return Geometry(
        concepts=tuple(concepts),
        layer=layer,
        coordinates=coordinates,
        explained=explained,
        norms={name: _correlations(coordinates, value) for name, value in given.items()},
        n_norms=int(found.sum()),
    )


def _values(concepts: Sequence[str], norm: Mapping[str, float]) -> Float[Tensor, " concept"]:
    folded = {name.casefold(): value for name, value in norm.items()}
    values = [folded.get(concept.casefold(), float("nan")) for concept in concepts]
    return torch.tensor(values, dtype=torch.float64)


def _correlations(
    coordinates: Float[Tensor, "concept axis"], norm: Float[Tensor, " concept"]
) -> Float[Tensor, " axis"]:
    """Correlate each axis with the norm (Pearson), over the concepts that have it; NaN for fewer than three."""
    known = ~norm.isnan()
    if int(known.sum()) < 3:
        return torch.full((coordinates.shape[1],), torch.nan, dtype=torch.float64)
    column = rearrange(norm[known], "concept -> concept 1")
    return correlation(torch.cat([coordinates[known], column], dim=1))[:-1, -1]
