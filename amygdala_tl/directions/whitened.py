"""Difference of means in the metric of the pooled covariance: the direction of linear discriminant analysis.

The plain difference of means is long where activations vary much for any reason. Here it is divided by the covariance of
the activations, so that what varies in every text counts little. The covariance is that of all texts: for one concept it
is the within-class covariance plus a multiple of d d^T with d the difference of means, and by the Sherman-Morrison formula
the direction S^-1 d is the same for both, so that one factorisation a layer serves all concepts.

With fewer texts than would determine it, the covariance is shrunk towards its own diagonal (Schaefer & Strimmer 2005, Stat.
Appl. Genet. Mol. Biol. 4(1):32, target D): every coordinate keeps its variance, so that a few massive dimensions do not set the
scale for all others, as they do when the target is a multiple of the identity. How much, is chosen by cross-validation over
groups: the strength that estimates the covariance best is far weaker than the one that separates unseen texts best.
"""

from collections.abc import Mapping
from typing import Any

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.statistics import Statistics, statistics_of
from amygdala_tl.errors import FitError

STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of the diagonal that cross-validation compares."""

N_FOLDS = 5


def whitened(data: LabelledActivations, *, shrinkage: float | None = None) -> Estimate:
    """Shrunk covariance^-1 (mean(positive) - mean(negative)) of every concept at every layer.

    With graded labels the covariance of activation and grade stands in the place of the difference of means.

    Args:
        data: activations and labels.
        shrinkage: share of the diagonal, 0 to 1; if None, the one of `STRENGTHS` with the best AUROC on held-out groups,
            averaged over concepts, chosen for each layer.

    Raises:
        FitError: the covariance cannot be inverted.
    """
    statistics = statistics_of(data, second_moments=True)
    signal = _signal(data, statistics)
    if shrinkage is not None:
        return _whiten(statistics, signal, [shrinkage] * len(statistics.mean))
    table = _cross_validate(data)
    if table is None:
        return whitened_from_statistics(statistics)
    best = [STRENGTHS[index] for index in table.argmax(dim=0).tolist()]
    scores = {
        f"{strength:g}": [round(value, 4) for value in row]
        for strength, row in zip(STRENGTHS, table.tolist(), strict=True)
    }
    return _whiten(statistics, signal, best, {"auroc_by_shrinkage": scores})


def whitened_from_statistics(statistics: Statistics, *, shrinkage: float | None = None) -> Estimate:
    """The same from statistics with second moments that were gathered elsewhere, where there are no texts to cross-validate on.

    The strength is then the one that estimates the covariance best (`covariance_shrinkage`), if it is not given.

    Raises:
        FitError: the covariance cannot be inverted.
    """
    assert statistics.covariance is not None
    strengths = [
        covariance_shrinkage(covariance, statistics.n) if shrinkage is None else shrinkage
        for covariance in statistics.covariance
    ]
    return _whiten(statistics, statistics.difference, strengths)


def shrink(covariance: Float[Tensor, "d_model d_model"], strength: float) -> Float[Tensor, "d_model d_model"]:
    """(1 - strength) S + strength diag(S)."""
    shrunk = covariance * (1.0 - strength)
    shrunk.diagonal().copy_(covariance.diagonal())
    return shrunk


def covariance_shrinkage(covariance: Float[Tensor, "d_model d_model"], n: int) -> float:
    """Strength, 0 to 1, that minimises the expected squared error of the shrunk correlations.

    Schaefer & Strimmer 2005: the sum of the correlations' variances over the sum of their squares; here with the variance
    (1 - r^2)^2 / (n - 1) that correlations of n Gaussian samples have.
    """
    scale = covariance.diagonal().rsqrt().nan_to_num(posinf=0.0)
    squares = (covariance * rearrange(scale, "d -> d 1") * rearrange(scale, "d -> 1 d")).square()
    squares.fill_diagonal_(0.0)
    variance = ((1.0 - squares).square().sum() - squares.shape[0]) / max(1, n - 1)
    total = squares.sum()
    return float((variance / total).clamp(0.0, 1.0)) if total > 0 else 1.0


def _signal(data: LabelledActivations, statistics: Statistics) -> Float[Tensor, "concept layer d_model"]:
    """What is to be whitened: the difference of means, or the covariance of activation and grade."""
    if data.grades is None:
        return statistics.difference
    known = ~data.grades.isnan()
    centred = torch.where(known, data.grades - data.grades.nanmean(dim=0), 0.0)
    return einsum(centred, data.activations.float(), "text concept, text layer d_model -> concept layer d_model")


def _cross_validate(data: LabelledActivations) -> Float[Tensor, "strength layer"] | None:
    """Mean AUROC over held-out folds and concepts of every strength at every layer; None where no fold can be scored."""
    n_folds = min(N_FOLDS, len(torch.unique(data.groups)))
    if n_folds < 2:
        return None
    fold = group_folds(data.groups, n_folds)
    results = []
    for held_out in range(n_folds):
        kept, left = data.take(fold != held_out), data.take(fold == held_out)
        # A concept whose positives all fell into one fold has no difference of means without it.
        usable = kept.positive.any(dim=0) & kept.negative.any(dim=0)
        statistics = statistics_of(kept, second_moments=True)
        signal = _signal(kept, statistics)[usable]
        assert statistics.covariance is not None
        for layer, covariance in enumerate(statistics.covariance):
            for strength in STRENGTHS:
                vectors = _solve(covariance, signal[:, layer], strength)
                scores = left.activations[:, layer].float() @ vectors.T
                results.append(auroc(scores, left.positive[:, usable], left.negative[:, usable]).nanmean())
    table: Tensor = rearrange(
        torch.stack(results),
        "(fold layer strength) -> fold strength layer",
        fold=n_folds,
        strength=len(STRENGTHS),
    ).nanmean(dim=0)
    return None if table.isnan().any() else table


def _whiten(
    statistics: Statistics,
    signal: Float[Tensor, "concept layer d_model"],
    strengths: list[float],
    more: Mapping[str, Any] | None = None,
) -> Estimate:
    assert statistics.covariance is not None
    vectors = torch.stack(
        [
            _solve(covariance, signal[:, layer], strengths[layer])
            for layer, covariance in enumerate(statistics.covariance)
        ],
        dim=1,
    )
    return Estimate(vectors, {"shrinkage": [round(strength, 4) for strength in strengths], **(more or {})})


def _solve(
    covariance: Float[Tensor, "d_model d_model"], signal: Float[Tensor, "concept d_model"], strength: float
) -> Float[Tensor, "concept d_model"]:
    """Shrunk covariance^-1 times every row of `signal`, solved in units of each coordinate's deviation.

    A coordinate that never varies separates nothing and gets 0.
    """
    scale = covariance.diagonal().rsqrt()
    scale = scale.masked_fill(~torch.isfinite(scale), 0.0)
    correlation = shrink(covariance * rearrange(scale, "d -> d 1") * rearrange(scale, "d -> 1 d"), strength)
    correlation.diagonal().fill_(1.0)
    factor, failed = torch.linalg.cholesky_ex(correlation)
    if failed:
        raise FitError(
            "the covariance of the activations cannot be inverted",
            got=f"shrinkage {strength:.2g}",
            remedy="use more texts, or a shrinkage above 0",
        )
    solved = torch.cholesky_solve(rearrange(signal * scale, "concept d_model -> d_model concept"), factor)
    result: Tensor = rearrange(solved, "d_model concept -> concept d_model") * scale
    return result
