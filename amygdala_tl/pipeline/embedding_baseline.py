"""The same method without the model: directions fitted on mean token embeddings, a baseline that knows words but no sentences."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.embedding import mean_embeddings
from amygdala_tl.diagnostics.evaluation import scores_of
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.method import Method, apply_method
from amygdala_tl.errors import FitError
from amygdala_tl.lens.model import Lens
from amygdala_tl.records import CaptureSettings


def embedding_scores(
    model: Lens,
    settings: CaptureSettings,
    method: Method,
    known_texts: Sequence[str],
    known: LabelledActivations,
    unseen_texts: Sequence[str],
) -> Float[Tensor, "text concept"]:
    """Scores of unseen texts by a method that was fitted on the mean token embeddings of known ones.

    Args:
        model: whose embeddings.
        settings: how texts become tokens.
        method: estimator and denoisers.
        known_texts, known: what to fit on; its activations are not looked at.
        unseen_texts: what to score.

    Returns:
        Raw projections; NaN where the method cannot be fitted on embeddings: a denoiser that needs neutral texts, an estimator
        that needs each text's tokens, a concept without both classes.
    """
    embeddings = mean_embeddings(model, known_texts, settings)
    scores = torch.full((len(unseen_texts), known.positive.shape[1]), torch.nan)
    usable = known.positive.any(dim=0) & known.negative.any(dim=0)
    data = replace(known, activations=embeddings, spread=None).of_concepts(usable)
    try:
        directions = apply_method(method, data, embeddings[:0], [str(place) for place in range(int(usable.sum()))])
    except FitError:
        return scores
    scores[:, usable] = scores_of(mean_embeddings(model, unseen_texts, settings), directions.directions)[0]
    return scores
