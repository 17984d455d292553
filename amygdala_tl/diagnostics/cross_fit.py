"""Cross-fitted scores, by directions fitted without the text's group, and the cosine between directions of two halves."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.directions.data import LabelledActivations, LabelledTexts
from amygdala_tl.directions.fold_directions import FoldDirections
from amygdala_tl.directions.folds import Cells, fold_cells
from amygdala_tl.directions.method import Method
from amygdala_tl.directions.running import RunningMoments
from amygdala_tl.errors import FitError

Fit = Callable[[LabelledActivations], Float[Tensor, "some layer d_model"]]
"""Labelled activations (both classes for every concept) -> unit directions of these concepts. May raise `FitError`."""

N_FOLDS = 5

SPLITS = 5
"""Number of halvings that `split_half_cosine` averages over."""


def cross_fitted_scores(
    data: LabelledActivations,
    fit: Fit,
    n_folds: int = N_FOLDS,
    seed: int = 0,
    folds: Collection[int] | None = None,
) -> Float[Tensor, "layer text concept"]:
    """Score every text at every layer with directions fitted on the other folds, in standard deviations of those folds' texts.

    Projections onto the directions of different folds have different means and spreads. Each fold's scores are therefore (score
    - mean) / deviation over the texts that its directions were fitted on, and can be pooled. Pooling costs a little: if the
    folds' training texts differ, it biases AUROC towards 0.5 and below it, never up.

    Args:
        data: texts of one group share a fold.
        fit: makes the directions of the concepts that have both classes outside the fold.
        n_folds: at least 2; there are never more folds than groups.
        seed: of the folds.
        folds: only texts of these are scored; all if None.

    Returns:
        NaN for a concept that lacks a class outside the fold, and for texts that are not scored.

    Raises:
        FitError: all texts are of one group, or `fit` failed.
    """
    cells = _cells(data, n_folds, seed)
    texts, layers, _ = data.activations.shape
    scores = torch.full((layers, texts, data.positive.shape[1]), torch.nan)
    fold = cells.fold
    for held_out in range(cells.n_folds) if folds is None else folds:
        kept, left = data.take(fold != held_out), data.take(fold == held_out)
        usable = kept.complete()
        if not usable.any():
            continue
        directions = fit(kept.of_concepts(usable))
        known, new = kept.scores(directions), left.scores(directions)
        mean, deviation = known.mean(dim=1, keepdim=True), known.std(dim=1, keepdim=True)
        places = (fold == held_out).nonzero(), usable.nonzero()[:, 0]  # [text, 1] and [concept]
        scores[:, places[0], places[1]] = ((new - mean) / deviation).float()
    return scores


@dataclass(frozen=True, slots=True)
class CrossFit:
    """What the training texts say about a method.

    Attributes:
        scores: [layer, text, concept], see `cross_fitted_scores`.
        halves: [concept, layer], see `split_half_cosine`; None if it was not asked for.
    """

    scores: Float[Tensor, "layer text concept"]
    halves: Float[Tensor, "concept layer"] | None


def cross_fit_streamed(
    method: Method,
    texts: LabelledTexts,
    shrinkage: Sequence[float] | None = None,
    *,
    halves: bool = True,
    n_folds: int = N_FOLDS,
    splits: int = SPLITS,
    seed: int = 0,
    folds: Collection[int] | None = None,
    on_layer: Callable[[], None] = lambda: None,
) -> CrossFit:
    """Compute the scores and the cosines of a streamable method, from texts in parts and one layer after another.

    Memory holds one d_model x d_model matrix for each of ten cells, and the scores.

    Args:
        method: a streamable method.
        texts: texts of one group share a fold.
        shrinkage: of `whitened`, for each layer, with which halves are compared; each half chooses its own if None.
        halves: also compare halves.
        n_folds, splits, seed, folds: as in `cross_fitted_scores` and `split_half_cosine`.
        on_layer: called after each layer.

    Raises:
        FitError: as `cross_fitted_scores`.
    """
    cells = _cells(texts, n_folds, seed)
    scores = torch.full((texts.n_layers, len(cells.cell), texts.positive.shape[1]), torch.nan)
    scored = range(cells.n_folds) if folds is None else sorted(folds)
    cosines = []
    for layer in range(texts.n_layers):
        fits = FoldDirections(method, texts, layer, cells)
        if halves:
            found = fits.halves_cosine(cells.halves(splits, seed), None if shrinkage is None else shrinkage[layer])
            cosines.append(found.nanmean(dim=0))
        directions = {fold: found.all_rows() for fold, found in fits.without_folds(scored).items()}
        del fits  # its sums are as large as all else together
        _score_folds(texts, layer, directions, cells.fold, scores[layer])
        on_layer()
    return CrossFit(scores, torch.stack(cosines, dim=1) if halves else None)


def _score_folds(
    texts: LabelledTexts,
    layer: int,
    directions: Mapping[int, Float[Tensor, "concept d_model"]],
    fold: Int[Tensor, " text"],
    scores: Float[Tensor, "text concept"],
) -> None:
    """Write every text's score with the directions of its fold, in deviations of the texts that these were fitted on."""
    moments = {number: RunningMoments() for number in directions}
    stacked = torch.stack(list(directions.values()))
    for rows, part in texts.passes(layer):
        own = fold[rows]
        pattern = "text d_model, fold concept d_model -> text fold concept"
        each_fold = einsum(part.activations[:, 0].float(), stacked, pattern).unbind(dim=1)
        for number, found in zip(directions, each_fold, strict=True):
            scores[rows[own == number]] = found[own == number]
            moments[number].add(found[own != number])
    for number, each in moments.items():
        scores[fold == number] = ((scores[fold == number] - each.mean) / each.deviation).float()


def _cells(texts: LabelledTexts, n_folds: int, seed: int) -> Cells:
    cells = fold_cells(texts.groups, n_folds, seed)
    if cells.n_folds < 2:
        what = "texts cannot be scored by directions of other texts"
        remedy = "give texts of other days or scenes, or label groups"
        raise FitError(what, got="one group", need="two or more", remedy=remedy)
    return cells


def split_half_cosine(
    data: LabelledActivations, fit: Fit, splits: int = SPLITS, seed: int = 0
) -> Float[Tensor, "concept layer"]:
    """Compute the mean cosine between the directions of two halves of the groups, over random halvings, in [-1, 1].

    Args:
        data: activations and labels.
        fit: makes the directions of the concepts that have both classes in both halves; raises `FitError`.
        splits: number of halvings.
        seed: of the halvings; each half has half of the cells of the folds (`fold_cells`).

    Returns:
        NaN for a concept that never had both classes in both halves.
    """
    concepts, layers = data.positive.shape[1], data.activations.shape[1]
    found = torch.full((splits, concepts, layers), torch.nan)
    if len(torch.unique(data.groups)) < 2:
        return found[0]
    cells = fold_cells(data.groups, N_FOLDS, seed)
    for split, halves in enumerate(cells.halves(splits, seed)):
        one, other = (data.take(torch.isin(cells.cell, torch.tensor(half))) for half in halves)
        usable = one.complete() & other.complete()
        if usable.any():
            first, second = (fit(part.of_concepts(usable)) for part in (one, other))
            cosine = einsum(first, second, "concept layer d_model, concept layer d_model -> concept layer")
            found[split, usable] = cosine.float()
    mean: Tensor = found.nanmean(dim=0)
    return mean
