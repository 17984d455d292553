"""The same method without the model: directions fitted on mean token embeddings, a baseline that knows words but no sentences."""

from collections.abc import Iterator
from functools import partial

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.diagnostics.cross_fit import N_FOLDS
from amygdala_tl.directions.data import LabelledActivations, LabelledTexts
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.method import Method, apply_method, apply_streamed
from amygdala_tl.errors import FitError

PART_TEXTS = 4096
"""Texts of a part, for methods that take parts."""


def embedding_scores(
    method: Method,
    known: LabelledTexts,
    known_embeddings: Float[Tensor, "text 1 d_model"],
    unseen_embeddings: Float[Tensor, "unseen 1 d_model"],
) -> Float[Tensor, "unseen concept"]:
    """Score unseen texts with a method fitted on the mean token embeddings of known ones.

    Args:
        method: estimator and denoisers.
        known: labels and groups of the known texts; its activations are ignored.
        known_embeddings, unseen_embeddings: mean embedding of each text's own tokens.

    Returns:
        Raw projections; NaN where the method cannot be fitted on embeddings: a denoiser that needs neutral texts, an estimator
        that needs each text's tokens, a concept without both classes.
    """
    scores = torch.full((len(unseen_embeddings), known.positive.shape[1]), torch.nan)
    usable = known.positive.any(dim=0) & known.negative.any(dim=0)
    labelled = LabelledActivations(known_embeddings, known.positive, known.negative, known.groups, known.grades)
    data = labelled.of_concepts(usable)
    if not usable.any():
        return scores
    names = [str(place) for place in range(int(usable.sum()))]
    try:
        if method.streamable:
            fitted = apply_streamed(method, partial(_parts, data), data.groups, names)
        else:
            fitted = apply_method(method, data, known_embeddings[:0], names)
    except FitError:
        return scores
    values, pattern = unseen_embeddings.float(), "text layer d_model, concept layer d_model -> text concept"
    scores[:, usable] = einsum(values, fitted.directions, pattern)
    return scores


def cross_fitted_embedding_scores(
    method: Method, known: LabelledTexts, embeddings: Float[Tensor, "text 1 d_model"], seed: int = 0
) -> Float[Tensor, "text concept"]:
    """Score every known text by the embeddings of the other folds; arguments as in `embedding_scores`."""
    labelled = LabelledActivations(embeddings, known.positive, known.negative, known.groups, known.grades)
    fold = group_folds(known.groups, N_FOLDS, seed)
    scores = torch.full(known.positive.shape, torch.nan)
    for held_out in torch.unique(fold).tolist():
        others = labelled.take(fold != held_out)
        scores[fold == held_out] = embedding_scores(method, others, others.activations, embeddings[fold == held_out])
    return scores


def _parts(data: LabelledActivations) -> Iterator[LabelledActivations]:
    for rows in torch.split(torch.arange(len(data.groups)), PART_TEXTS):
        yield data.take(rows)
