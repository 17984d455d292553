"""Least-squares concept erasure: the smallest affine change of activations that leaves no linear trace of a concept.

With d the difference of a concept's class means, S the covariance of the activations, m their mean and w = S^-1 d:

    h - d (w.(h - m)) / (w.d)

Afterwards both classes have the same mean, so that no linear probe does better than a constant on the texts of the fit. Of all
affine maps that achieve this, it moves the activations least, in any metric. Projecting out w, the direction that reads best,
does not achieve it: the classes still differ along the rest of d.

Several concepts at once are one projection, onto the span of their d and along the null space of their w:

    h - D (W^T D)^+ W^T (h - m)

Few texts do not determine S, so it is shrunk towards its diagonal, by the strength that estimates it best. The class means are
equal after the erasure whatever S is; how small the change is depends on it.

Source: LEACE, Belrose et al. 2023, arXiv:2306.03819.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.estimators import check_classes
from amygdala_tl.directions.statistics import Statistics, gather
from amygdala_tl.directions.whitening import inverse_covariance, strengths_for
from amygdala_tl.errors import InputError
from amygdala_tl.names import named_concepts


@dataclass(frozen=True, slots=True)
class Erasure:
    """An affine map of one layer's stream: h - sum over r of (read_r . (h - mean)) write_r.

    Attributes:
        read, write: [rank, d_model], or [rows, rank, d_model] with a map of its own for each row of a batch.
        mean: [d_model], what stays where it is.
    """

    read: Float[Tensor, "*rows rank d_model"]
    write: Float[Tensor, "*rows rank d_model"]
    mean: Float[Tensor, " d_model"]

    def rows(self, some: slice) -> "Erasure":
        """Return the maps of some rows of the batch."""
        return Erasure(self.read[some], self.write[some], self.mean)

    def __call__(self, values: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes d_model"]:
        """Apply a map without rows to any activations, in float32."""
        wide = values.float()
        scores = einsum(wide - self.mean, self.read, "... d_model, rank d_model -> ... rank")
        return wide - einsum(scores, self.write, "... rank, rank d_model -> ... d_model")


@dataclass(frozen=True, slots=True)
class Eraser:
    """What erases concepts from the residual stream, fitted on labelled activations.

    Attributes:
        concepts, layers: names of the axes.
        difference: [concept, layer, d_model] d, mean of the positive texts minus mean of the negative ones.
        weights: [concept, layer, d_model] w = S^-1 d.
        mean: [layer, d_model] of all texts.
    """

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    difference: Float[Tensor, "concept layer d_model"]
    weights: Float[Tensor, "concept layer d_model"]
    mean: Float[Tensor, "layer d_model"]

    def at(self, *concepts: str, layer: int, method: Literal["leace", "mean", "flip"] = "leace") -> Erasure:
        """Return the map that takes out one concept, or several together, at one layer.

        Args:
            concepts: names.
            layer: one of the eraser's.
            method: `leace` is least-squares erasure, after which no linear probe of the fitted texts reads them; `flip` moves
                as far again, so that the classes change places; `mean` projects out the differences of means.

        Raises:
            InputError: the eraser has no such concept or layer, or no concept is named.
        """
        rows = [self.concepts.index(name) for name in named_concepts(concepts, self.concepts)]
        if not rows or layer not in self.layers:
            raise InputError(
                "the eraser has nothing for this", got=f"{', '.join(concepts) or 'no concept'} at layer {layer}",
                need=f"concepts at layers {', '.join(map(str, self.layers))}", remedy="name a concept and such a layer",
            )  # fmt: skip
        at = self.layers.index(layer)
        difference = self.difference[rows, at]
        if method == "mean":
            basis = rearrange(torch.linalg.qr(difference.double().T).Q.float(), "d_model concept -> concept d_model")
            return Erasure(basis, basis, torch.zeros_like(self.mean[at]))
        erasure = joint_erasure(difference, self.weights[rows, at], self.mean[at])
        return erasure if method == "leace" else replace(erasure, read=2.0 * erasure.read)


def joint_erasure(
    difference: Float[Tensor, "concept d_model"],
    weights: Float[Tensor, "concept d_model"],
    mean: Float[Tensor, " d_model"],
) -> Erasure:
    """Return the map that erases all rows of `difference` together.

    Args:
        difference: differences of class means.
        weights: the same times the inverse covariance.
        mean: of all texts.
    """
    d, w = difference.double(), weights.double()
    # In units of each concept's own separation, so that a weak concept is not cut off as if it were rounding.
    scale = einsum(d, w, "concept d_model, concept d_model -> concept").rsqrt()[:, None]
    d, w = d * scale, w * scale
    inverse = torch.linalg.pinv(w @ d.T, rtol=1e-6) if d.isfinite().all() else torch.full((len(d), len(d)), torch.nan)
    return Erasure((inverse @ w).float(), d.float(), mean.float())


def fit_erasure(
    data: LabelledActivations, concepts: Sequence[str], layers: Sequence[int], *, shrinkage: float | None = None
) -> Eraser:
    """Fit the erasures of all concepts at all layers: one factorisation of d_model x d_model for each layer.

    Args:
        data: labelled activations, in the units of the residual stream.
        concepts, layers: names of the axes of `data`.
        shrinkage: share of the diagonal in the covariance, 0 to 1; if None, the strength that estimates each layer's best.

    Raises:
        FitError: a concept lacks a class, or the covariance cannot be inverted.
    """
    check_classes(data.positive, data.negative, concepts)
    statistics = gather([replace(data, grades=None)], second_moments=True)
    return erase_by(statistics, concepts, layers, strengths_for(statistics, shrinkage))


def erase_by(
    statistics: Statistics, concepts: Sequence[str], layers: Sequence[int], strengths: Sequence[float]
) -> Eraser:
    """Fit the erasures on statistics with second moments, with these strengths, one for each layer; raises as `fit_erasure`."""
    weights = inverse_covariance(statistics, statistics.difference, strengths)
    return Eraser(tuple(concepts), tuple(layers), statistics.difference, weights, statistics.mean)
