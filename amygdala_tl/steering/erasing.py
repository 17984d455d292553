"""What is taken out of texts that carry a concept, and how: four methods, each an affine map of the stream.

With d the difference of the concept's class means, S the covariance and m the mean of the training texts' activations, w = S^-1 d
and v the direction that steers:

    leace      h - d (w.(h - m)) / (w.d): least-squares erasure
    flip       h - 2 d (w.(h - m)) / (w.d): the two classes change places
    mean       h - (h.u) u with u = d / |d|
    project    h - (h.v) v

Each method has controls that it treats alike: `project` isotropic random directions, the others the d of labels shuffled over
groups. An isotropic direction is no control for an erasure: activations hardly vary along it, so taking it out moves nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.diagnostics.nulls import permuted_texts
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.erasure import Erasure
from amygdala_tl.directions.statistics import gather
from amygdala_tl.directions.whitening import inverse_covariance, strengths_for
from amygdala_tl.steering.settings import EraseMethod


@dataclass(frozen=True, slots=True)
class LayerEraser:
    """What erasures at one layer are made of.

    Attributes:
        mean: of all training texts.
        difference, weights: d and w, one a tested concept, and behind them one a control.
        n_concepts: how many are concepts.
    """

    mean: Float[Tensor, " d_model"]
    difference: Float[Tensor, "arm d_model"]
    weights: Float[Tensor, "arm d_model"]
    n_concepts: int


def fit_erasers(
    data: LabelledActivations, columns: Sequence[int], layers: Sequence[int], controls: int, seed: int
) -> Mapping[int, LayerEraser]:
    """Fit the erasures of every layer.

    Args:
        data: labelled training texts.
        columns: which of its concepts are tested.
        layers: of the data, as indices of the model's layers.
        controls: number of differences between shuffled classes.
        seed: of the shuffles.

    Raises:
        FitError: a covariance cannot be inverted.
    """
    data = replace(data, grades=None)
    statistics = gather([data], second_moments=True)
    times = math.ceil(controls / data.positive.shape[1])
    sources = permuted_texts(data.groups, torch.Generator().manual_seed(seed), times).long()
    shuffled = [
        gather([replace(data, positive=data.positive[source], negative=data.negative[source])], second_moments=False)
        for source in sources
    ]
    null = torch.cat([statistics.difference[:0], *(each.difference for each in shuffled)])
    null = null[~null.isnan().any(dim=-1).any(dim=-1)][:controls]
    difference = torch.cat([statistics.difference[list(columns)], null])
    weights = inverse_covariance(statistics, difference, strengths_for(statistics, None))
    return {
        layer: LayerEraser(statistics.mean[at], difference[:, at], weights[:, at], len(columns))
        for at, layer in enumerate(layers)
    }


def erasure_arms(eraser: LayerEraser, concept: int, method: EraseMethod) -> Erasure:
    """The maps of one concept and of the controls, one a row of a batch, rank 1 each.

    Args:
        eraser: of the layer.
        concept: number of the concept among the tested ones.
        method: any but `project`, which needs directions only (`projection_arms`).
    """
    rows = [concept, *range(eraser.n_concepts, len(eraser.difference))]
    d, w = eraser.difference[rows], eraser.weights[rows]
    if method == "mean":
        return projection_arms(d / d.norm(dim=-1, keepdim=True))
    size = einsum(w.double(), d.double(), "arm d_model, arm d_model -> arm").float()
    read = (2.0 if method == "flip" else 1.0) * w / rearrange(size, "arm -> arm 1")
    return Erasure(_of_rank_1(read), _of_rank_1(d), eraser.mean)


def projection_arms(directions: Float[Tensor, "arm d_model"]) -> Erasure:
    """The maps that take unit directions out of a stream, one a row of a batch."""
    rows = _of_rank_1(directions.float())
    return Erasure(rows, rows, torch.zeros_like(rows[0, 0]))


def _of_rank_1(rows: Float[Tensor, "arm d_model"]) -> Float[Tensor, "arm 1 d_model"]:
    return rearrange(rows, "arm d_model -> arm 1 d_model")
