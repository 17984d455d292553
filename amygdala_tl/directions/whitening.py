"""Whitened difference of means: the direction of linear discriminant analysis.

The plain difference of means is long along every axis on which activations vary, for whatever reason. Multiplying it by the
inverse covariance of the activations gives such axes little weight. The covariance is that of all texts: for one concept it is
the within-class covariance plus a multiple of d d^T, with d the difference of means. By the Sherman-Morrison formula both give
the same direction S^-1 d, so one factorisation a layer serves all concepts.

Few texts do not determine the covariance, so it is shrunk towards its own diagonal (Schaefer & Strimmer 2005, Stat. Appl. Genet.
Mol. Biol. 4(1):32, target D). Every coordinate keeps its variance; with a multiple of the identity as the target, a few massive
dimensions would set the scale of all others. Cross-validation over groups chooses the amount, because the best estimate of the
covariance needs far less shrinkage than the best separation of unseen texts.

`joint` lets the vectors of related concepts borrow strength from one another (see `borrowing`).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.borrowing import borrow
from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.estimators import estimator
from amygdala_tl.directions.folds import Folds, fold_assignment, folds_of
from amygdala_tl.directions.statistics import FoldedStatistics, Parts, Statistics, gather, gather_folds
from amygdala_tl.directions.strength import Strength, of_layers
from amygdala_tl.errors import FitError

STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of the diagonal that cross-validation compares."""

N_FOLDS = 5

N_PROBES = 64
"""Random vectors for the trace that `joint` needs: it is within a few percent."""

ENOUGH_TEXTS = 4000
"""Cross-validation stops after this many scored texts. More would not change the choice, and each fold costs one factorisation of
d_model x d_model for every strength and layer."""


@estimator
def whitened(data: LabelledActivations, *, shrinkage: Strength = None, folds: Folds = None) -> Estimate:
    """Compute (shrunk covariance)^-1 (mean(positive) - mean(negative)) of every concept at every layer.

    `whitened(positive, negative)` takes two tensors and returns unit directions [layer, d_model]; see `estimator`.
    With graded labels the covariance of activation and grade replaces the difference of means.

    Args:
        data: activations and labels.
        shrinkage: share of the diagonal, 0 to 1, or one for each layer. If None, each layer takes the one of `STRENGTHS` with
            the best AUROC on held-out groups (5 folds, at most about `ENOUGH_TEXTS` texts), averaged over concepts. With a
            single group, or if no fold can be scored, it takes the one that estimates the covariance best
            (`covariance_shrinkage`).
        folds: of all texts, to choose the shrinkage on in place of 5 folds of groups; more than 5 are merged.

    Raises:
        FitError: the covariance cannot be inverted.
        InputError: shrinkages for another number of layers.
    """
    data = data if folds is None else replace(data, groups=folds)
    return whitened_streamed(lambda: [data], data.groups, shrinkage=shrinkage)[0]


@estimator
def joint(data: LabelledActivations, *, shrinkage: Strength = None, folds: Folds = None) -> Estimate:
    """Compute the vectors of `whitened`, and let those of related concepts borrow strength from one another.

    With one concept, as in `joint(positive, negative)`, the direction is that of `whitened`.

    Args:
        data: activations and labels; grades are not used.
        shrinkage, folds: as in `whitened`.

    Raises:
        FitError: the covariance cannot be inverted.
        InputError: shrinkages for another number of layers.
    """
    data = data if folds is None else replace(data, groups=folds)
    return joint_streamed(lambda: [data], data.groups, shrinkage=shrinkage)[0]


def joint_streamed(
    parts: Parts, groups: Int[Tensor, " text"], *, shrinkage: Strength = None
) -> tuple[Estimate, Statistics]:
    """Compute the same from texts in parts; all else as in `whitened_streamed`."""
    return whitened_streamed(parts, groups, shrinkage=shrinkage, together=True)


def whitened_streamed(
    parts: Parts, groups: Int[Tensor, " text"], *, shrinkage: Strength = None, together: bool = False
) -> tuple[Estimate, Statistics]:
    """Compute the same from texts in parts: one pass for the statistics, and a second one to choose the shrinkage.

    Memory holds one d_model x d_model matrix for every layer and fold, and the scores and labels of all texts.

    Args:
        parts: the texts, in any order.
        groups: of all texts, in any order.
        shrinkage: as in `whitened`.
        together: compute the vectors of `joint`.

    Returns:
        The estimate, and the statistics of all texts.

    Raises:
        FitError: the covariance cannot be inverted.
    """
    n_folds = min(N_FOLDS, len(torch.unique(groups)))
    if shrinkage is not None or n_folds < 2:
        statistics = gather(parts(), second_moments=True)
        return whiten(statistics, strengths_for(statistics, shrinkage), together=together), statistics
    n_scored = min(n_folds, math.ceil(ENOUGH_TEXTS * n_folds / len(groups)))
    names, fold_of_name = fold_assignment(groups, n_folds)

    def folded() -> Iterator[tuple[LabelledActivations, Int[Tensor, " _"]]]:
        for part in parts():  # all folds that are not scored share one number
            yield part, folds_of(part.groups, names, fold_of_name).clamp_max(n_scored)

    folds = gather_folds(folded(), min(n_folds, n_scored + 1), second_moments=True)
    table = _cross_validate(folds, folded(), n_scored, together=together)
    statistics = folds.without(None)
    if table is None:
        return whiten(statistics, strengths_for(statistics, None), together=together), statistics
    best = [STRENGTHS[index] for index in table.argmax(dim=0).tolist()]
    rows = zip(STRENGTHS, table.tolist(), strict=True)
    scores = {f"{strength:g}": [round(value, 4) for value in row] for strength, row in rows}
    return whiten(statistics, best, {"auroc_by_shrinkage": scores}, together=together), statistics


def shrink(covariance: Float[Tensor, "d_model d_model"], strength: float) -> Float[Tensor, "d_model d_model"]:
    """Compute (1 - strength) S + strength diag(S)."""
    shrunk = covariance * (1.0 - strength)
    shrunk.diagonal().copy_(covariance.diagonal())
    return shrunk


def covariance_shrinkage(covariance: Float[Tensor, "d_model d_model"], n: int) -> float:
    """Compute the strength, 0 to 1, that minimises the expected squared error of the shrunk correlations.

    Schaefer & Strimmer 2005: the sum of the correlations' variances over the sum of their squares, with the variance
    (1 - r^2)^2 / (n - 1) of a correlation of n Gaussian samples.
    """
    scale = covariance.diagonal().rsqrt().nan_to_num(posinf=0.0)
    squares = (covariance * rearrange(scale, "d -> d 1") * rearrange(scale, "d -> 1 d")).square()
    squares.fill_diagonal_(0.0)
    variance = ((1.0 - squares).square().sum() - squares.shape[0]) / max(1, n - 1)
    total = squares.sum()
    return float((variance / total).clamp(0.0, 1.0)) if total > 0 else 1.0


def strengths_for(statistics: Statistics, shrinkage: Strength) -> list[float]:
    """Return `shrinkage` for every layer, or the strength that estimates each layer's covariance best."""
    assert statistics.covariance is not None
    n, covariances = statistics.n, statistics.covariance
    given = of_layers(shrinkage, len(covariances))
    return [covariance_shrinkage(each, n) if own is None else own for each, own in zip(covariances, given, strict=True)]


def _cross_validate(
    folds: FoldedStatistics,
    parts: Iterable[tuple[LabelledActivations, Int[Tensor, " _"]]],
    n_scored: int,
    *,
    together: bool,
) -> Float[Tensor, "strength layer"] | None:
    """Compute the AUROC of every strength at every layer, averaged over concepts and the first `n_scored` folds.

    Each fold is scored with vectors fitted on all others. The result is None if no fold can be scored.
    """
    fitted = [all_strengths(folds.without(fold), together=together) for fold in range(n_scored)]
    scores: list[list[Tensor]] = [[] for _ in fitted]
    labels: list[list[Tensor]] = [[] for _ in fitted]
    for part, fold in parts:
        for number in sorted(set(fold[fold < n_scored].tolist())):
            left = part.take(fold == number)
            scores[number].append(torch.stack([left.scores(vectors) for vectors in fitted[number]]))
            labels[number].append(torch.stack([left.positive, left.negative]))
    tables = []
    for of_fold, classes in zip(scores, labels, strict=True):
        positive, negative = torch.cat(classes, dim=1)
        # A concept with all its positives in one fold has no difference of means without it: NaN vectors, and so no AUROC.
        each = torch.cat(of_fold, dim=2)
        tables.append([[float(auroc(layer, positive, negative).nanmean()) for layer in one] for one in each])
    table: Tensor = torch.tensor(tables, dtype=torch.float64).nanmean(dim=0)
    return None if table.isnan().any() else table


def all_strengths(statistics: Statistics, *, together: bool) -> Float[Tensor, "strength concept layer d_model"]:
    """Compute the vectors at each of `STRENGTHS`; NaN for a concept with an empty class."""
    layers = len(statistics.mean)
    solve = _together if together else _each
    return torch.stack(solve(statistics, [[each] * layers for each in STRENGTHS]))


def whiten(
    statistics: Statistics, strengths: Sequence[float], more: Mapping[str, Any] | None = None, *, together: bool
) -> Estimate:
    """Compute the vectors with these strengths, one for each layer; NaN for a concept with an empty class.

    Args:
        statistics: of the texts.
        strengths: shrinkage of each layer.
        more: parameters for the manifest.
        together: compute the vectors of `joint`, otherwise those of `whitened`.

    Raises:
        FitError: the covariance cannot be inverted.
    """
    solve = _together if together else _each
    (vectors,) = solve(statistics, [strengths])
    return Estimate(vectors, {"shrinkage": [round(strength, 4) for strength in strengths], **(more or {})})


def _each(statistics: Statistics, choices: Sequence[Sequence[float]]) -> list[Float[Tensor, "concept layer d_model"]]:
    """Compute the vectors of `whitened` for each choice of strengths."""
    return [inverse_covariance(statistics, statistics.signal, strengths) for strengths in choices]


def _together(
    statistics: Statistics, choices: Sequence[Sequence[float]]
) -> list[Float[Tensor, "concept layer d_model"]]:
    """Compute the vectors of `joint` for each choice of strengths.

    The degrees of freedom of each layer's fit, the trace of (shrunk covariance)^-1 S, are estimated with `N_PROBES` random
    vectors of signs (Hutchinson 1990, Commun. Stat. Simul. Comput. 19(2):433).
    """
    assert statistics.covariance is not None
    signal, n = statistics.difference, statistics.n
    random = torch.Generator().manual_seed(0)
    signs = torch.randint(2, (N_PROBES, signal.shape[2]), generator=random).to(signal) * 2 - 1
    deviation = statistics.covariance.diagonal(dim1=1, dim2=2).sqrt()
    probes = einsum(signs, deviation, "probe d_model, layer d_model -> probe layer d_model")
    scaled = signs[:, None] * torch.where(deviation > 0, deviation.reciprocal(), 0.0)
    pattern = "layer one two, probe layer two -> probe layer one"
    turned = einsum(statistics.covariance, scaled, pattern) / (N_PROBES * n)
    labelled = statistics.n_positive + statistics.n_negative
    weights = statistics.n_positive * statistics.n_negative / (labelled * n)
    found = []
    for strengths in choices:
        solved = inverse_covariance(statistics, torch.cat([signal, probes]), strengths)
        vectors, solved = solved[: len(signal)], solved[len(signal) :]
        chance = einsum(solved, turned, "probe layer d_model, probe layer d_model -> layer").tolist()
        layers = [
            borrow(vectors[:, layer], signal[:, layer], statistics.label_covariance, weights, each)
            for layer, each in enumerate(chance)
        ]
        found.append(torch.stack(layers, dim=1))
    return found


def inverse_covariance(
    statistics: Statistics, vectors: Float[Tensor, "vector layer d_model"], strengths: Sequence[float]
) -> Float[Tensor, "vector layer d_model"]:
    """Multiply the inverse of each layer's covariance, shrunk by the layer's strength, with these vectors; raises as `whiten`."""
    assert statistics.covariance is not None
    by_layer = rearrange(vectors, "vector layer d_model -> layer vector d_model")
    layers = zip(statistics.covariance, by_layer, strengths, strict=True)
    return torch.stack([_solve(*layer) for layer in layers], dim=1)


def _solve(
    covariance: Float[Tensor, "d_model d_model"], signal: Float[Tensor, "concept d_model"], strength: float
) -> Float[Tensor, "concept d_model"]:
    """Multiply the inverse of the shrunk covariance with every row of `signal`, in units of each coordinate's deviation.

    A coordinate that never varies gets 0.
    """
    scale = covariance.diagonal().rsqrt()
    scale = scale.masked_fill(~torch.isfinite(scale), 0.0)
    correlation = (covariance * rearrange(scale * (1.0 - strength), "d -> d 1")).mul_(scale)
    correlation.diagonal().fill_(1.0)
    factor, failed = correlation.mT, torch.empty((), dtype=torch.int32, device=covariance.device)
    torch.linalg.cholesky_ex(factor, out=(factor, failed))  # in place: a sixth faster than into a copy
    if failed:
        raise FitError(
            "the covariance of the activations cannot be inverted",
            got=f"shrinkage {strength:.2g}",
            remedy="use more texts, or a shrinkage above 0",
        )
    solved = rearrange(signal * scale, "concept d_model -> d_model concept")
    for triangle in (factor, factor.mT):  # half the time of `cholesky_solve`
        solved = torch.linalg.solve_triangular(triangle, solved, upper=triangle is not factor)
    result: Tensor = rearrange(solved, "d_model concept -> concept d_model") * scale
    return result
