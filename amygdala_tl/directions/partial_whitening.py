"""Directions between the plain difference of means and `whitened`: a power of the covariance times the difference of means.

With the covariance S of the activations and d the difference of means, d lies along axes on which activations vary for whatever
reason, and S^-1 d, which reads best, hardly touches them. A direction between the two, S^-a d, added to the stream, moves a
concept's words most for what it costs other text (docs/steering.md).

`half_whitened` has a = 1/2, the difference of means of whitened activations S^-1/2 h. (Of all whitening transforms this one
changes the activations least: ZCA, Kessy et al. 2018, Am. Stat. 72(4):309.) `quarter_whitened` has a = 1/4.
"""

from collections.abc import Mapping, Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.estimators import estimator
from amygdala_tl.directions.statistics import Parts, Statistics, gather
from amygdala_tl.directions.whitening import shrink, strengths_for

POWERS: Mapping[str, float] = {"half_whitened": 0.5, "quarter_whitened": 0.25}
"""Name of an estimator -> a in S^-a d."""


@estimator
def half_whitened(data: LabelledActivations, *, shrinkage: float | None = None) -> Estimate:
    """Compute (shrunk covariance)^-1/2 (mean(positive) - mean(negative)) of every concept at every layer.

    `half_whitened(positive, negative)` takes two tensors and returns unit directions [layer, d_model]; see `estimator`.

    Args:
        data: activations and labels.
        shrinkage: share of the covariance's diagonal, 0 to 1; if None, the one that estimates each layer's covariance best
            (`covariance_shrinkage`).
    """
    return partly_whitened_streamed(POWERS["half_whitened"], lambda: [data], data.groups, shrinkage=shrinkage)[0]


@estimator
def quarter_whitened(data: LabelledActivations, *, shrinkage: float | None = None) -> Estimate:
    """Compute (shrunk covariance)^-1/4 (mean(positive) - mean(negative)); all else as in `half_whitened`."""
    return partly_whitened_streamed(POWERS["quarter_whitened"], lambda: [data], data.groups, shrinkage=shrinkage)[0]


def partly_whitened_streamed(
    power: float, parts: Parts, groups: Int[Tensor, " text"], *, shrinkage: float | None = None
) -> tuple[Estimate, Statistics]:
    """Compute S^-power d from texts in parts, in one pass, and return the statistics too. `groups` is not used."""
    statistics = gather(parts(), second_moments=True)
    return partly_whiten(statistics, strengths_for(statistics, shrinkage), power), statistics


def partly_whiten(statistics: Statistics, strengths: Sequence[float], power: float) -> Estimate:
    """Compute S^-power d with these shrinkages, one for each layer; NaN for a concept with an empty class."""
    assert statistics.covariance is not None
    differences = rearrange(statistics.difference, "concept layer d_model -> layer concept d_model")
    layers = zip(statistics.covariance, differences, strengths, strict=True)
    vectors = torch.stack([_times_power(*layer, power) for layer in layers], dim=1)
    return Estimate(vectors, {"shrinkage": [round(strength, 4) for strength in strengths]})


def _times_power(
    covariance: Float[Tensor, "d_model d_model"],
    difference: Float[Tensor, "concept d_model"],
    strength: float,
    power: float,
) -> Float[Tensor, "concept d_model"]:
    """Multiply an inverse power of the shrunk covariance with every row; an axis without variance gets 0.

    Rounding a covariance to float32 moves its eigenvalues by up to 2^-23 of its trace: those below that are taken for 0.
    """
    values, axes = torch.linalg.eigh(shrink(covariance, strength).double())
    least = values.sum() * torch.finfo(torch.float32).eps
    scale = torch.where(values > least, values.clamp_min(least) ** -power, 0.0)
    result: Tensor = ((difference.double() @ axes * scale) @ axes.T).float()
    return result
