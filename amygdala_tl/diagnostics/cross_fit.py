"""Cross-fitted scores, by directions fitted without the text's group, and the cosine between directions of two halves."""

from collections.abc import Callable

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.errors import FitError

Fit = Callable[[LabelledActivations], Float[Tensor, "some layer d_model"]]
"""Labelled activations (both classes for every concept) -> unit directions of these concepts. May raise `FitError`."""

N_FOLDS = 5

SPLITS = 5
"""Number of halvings that `split_half_cosine` averages over."""


def cross_fitted_scores(
    data: LabelledActivations, fit: Fit, n_folds: int = N_FOLDS, seed: int = 0
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

    Returns:
        NaN for a concept that lacks a class outside the fold.

    Raises:
        FitError: all texts are of one group, or `fit` failed.
    """
    n_groups = len(torch.unique(data.groups))
    if n_groups < 2:
        what = "texts cannot be scored by directions of other texts"
        remedy = "give texts of other days or scenes, or label groups"
        raise FitError(what, got="one group", need="two or more", remedy=remedy)
    texts, layers, _ = data.activations.shape
    scores = torch.full((layers, texts, data.positive.shape[1]), torch.nan)
    fold = group_folds(data.groups, min(n_folds, n_groups), seed)
    for held_out in range(int(fold.max()) + 1):
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


def split_half_cosine(
    data: LabelledActivations, fit: Fit, splits: int = SPLITS, seed: int = 0
) -> Float[Tensor, "concept layer"]:
    """Compute the mean cosine between the directions of two halves of the groups, over random halvings, in [-1, 1].

    Args:
        data: activations and labels.
        fit: makes the directions of the concepts that have both classes in both halves; raises `FitError`.
        splits: number of halvings.
        seed: of the first halving.

    Returns:
        NaN for a concept that never had both classes in both halves.
    """
    concepts, layers = data.positive.shape[1], data.activations.shape[1]
    found = torch.full((splits, concepts, layers), torch.nan)
    if len(torch.unique(data.groups)) < 2:
        return found[0]
    for split in range(splits):
        half = group_folds(data.groups, 2, seed + split)
        one, other = data.take(half == 0), data.take(half == 1)
        usable = one.complete() & other.complete()
        if usable.any():
            first, second = (fit(part.of_concepts(usable)) for part in (one, other))
            cosine = einsum(first, second, "concept layer d_model, concept layer d_model -> concept layer")
            found[split, usable] = cosine.float()
    mean: Tensor = found.nanmean(dim=0)
    return mean
