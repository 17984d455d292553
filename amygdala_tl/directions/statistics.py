"""Counts, sums and second moments of labelled activations, gathered in one pass, so that memory does not grow with the corpus.

They are all that `mean` and `whitened` need. Sums are kept about a fixed origin (the first texts' mean), because a residual
stream's mean is far from zero beside its spread, and float32 products about zero would lose the difference.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.errors import FitError

Chunk = tuple[Float[Tensor, "_ layer d_model"], Bool[Tensor, "_ concept"], Bool[Tensor, "_ concept"]]
"""Activations, positive labels, negative labels of some texts; chunks differ in how many, so that axis has no name here."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Sufficient statistics of labelled activations.

    Attributes:
        n: how many texts.
        mean: [layer, d_model] of all texts.
        covariance: [layer, d_model, d_model] of all texts, divided by n, or None if it was not asked for.
        n_positive, n_negative: [concept] how many texts of each class.
        positive_mean, negative_mean: [concept, layer, d_model]; NaN for an empty class.
    """

    n: int
    mean: Float[Tensor, "layer d_model"]
    covariance: Float[Tensor, "layer d_model d_model"] | None
    n_positive: Int[Tensor, " concept"]
    n_negative: Int[Tensor, " concept"]
    positive_mean: Float[Tensor, "concept layer d_model"]
    negative_mean: Float[Tensor, "concept layer d_model"]

    @property
    def difference(self) -> Float[Tensor, "concept layer d_model"]:
        """Mean of the positive minus mean of the negative texts."""
        return self.positive_mean - self.negative_mean


class _Sums:
    """Running sums about a fixed origin."""

    def __init__(self, origin: Float[Tensor, "layer d_model"], n_concepts: int, *, second_moments: bool) -> None:
        layers, d_model = origin.shape
        self.origin = origin
        self.n = 0
        self.total = torch.zeros_like(origin)
        self.product = origin.new_zeros(layers, d_model, d_model) if second_moments else None
        self.classes = origin.new_zeros(2, n_concepts, layers, d_model)
        self.counts = torch.zeros(2, n_concepts, dtype=torch.long, device=origin.device)

    def add(self, values: Float[Tensor, "text layer d_model"], labels: Bool[Tensor, "polarity text concept"]) -> None:
        values = values - self.origin
        self.n += len(values)
        self.total += reduce(values, "text layer d_model -> layer d_model", "sum")
        self.classes += einsum(
            labels.float(), values, "polarity text concept, text layer d_model -> polarity concept layer d_model"
        )
        self.counts += reduce(labels.long(), "polarity text concept -> polarity concept", "sum")
        if self.product is not None:
            for layer in range(values.shape[1]):
                self.product[layer].addmm_(values[:, layer].T, values[:, layer])


def gather(chunks: Iterable[Chunk], *, second_moments: bool) -> Statistics:
    """Statistics of all chunks, each looked at once.

    Args:
        chunks: at least one, none of them empty.
        second_moments: also the covariance, whose cost is texts x layers x d_model^2.

    Raises:
        FitError: there is no text.
    """
    sums: _Sums | None = None
    for activations, positive, negative in chunks:
        values = activations.float()
        if sums is None:
            sums = _Sums(values.mean(dim=0), positive.shape[1], second_moments=second_moments)
        sums.add(values, torch.stack([positive, negative]))
    if sums is None:
        raise FitError("there is no text to fit on", remedy="check the corpus")
    shift = sums.total / sums.n
    covariance = None
    if sums.product is not None:
        column, row = (
            rearrange(shift, "layer d_model -> layer d_model 1"),
            rearrange(shift, "layer d_model -> layer 1 d_model"),
        )
        covariance = sums.product.div_(sums.n).sub_(column * row)
    means = sums.origin + sums.classes / rearrange(sums.counts, "polarity concept -> polarity concept 1 1")
    return Statistics(
        n=sums.n,
        mean=sums.origin + shift,
        covariance=covariance,
        n_positive=sums.counts[0],
        n_negative=sums.counts[1],
        positive_mean=means[0],
        negative_mean=means[1],
    )


def statistics_of(data: LabelledActivations, *, second_moments: bool) -> Statistics:
    """Statistics of activations that are in memory."""
    return gather([(data.activations, data.positive, data.negative)], second_moments=second_moments)
