"""Evaluation of directions on texts that they were not fitted on, against nulls, words and embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.diagnostics.baselines import bag_of_words_scores
from amygdala_tl.diagnostics.intervals import auroc_interval, average_precision_interval
from amygdala_tl.diagnostics.nulls import holm, permutation_null, random_direction_null
from amygdala_tl.diagnostics.records import Evaluation
from amygdala_tl.directions.auroc import auroc


@dataclass(frozen=True, slots=True)
class UnseenTexts:
    """Texts to judge readouts on. No direction was fitted on them or on texts of the same groups.

    Attributes:
        what: description for the reader of a table.
        texts: in plain form.
        activations: [text, layer, d_model] at the read position.
        positive, negative: [text, concept].
        groups: [text], equal for texts that are not independent.
    """

    what: str
    texts: Sequence[str]
    activations: Float[Tensor, "text layer d_model"]
    positive: Bool[Tensor, "text concept"]
    negative: Bool[Tensor, "text concept"]
    groups: Int[Tensor, " text"]


@dataclass(frozen=True, slots=True)
class Reference:
    """Training texts of the readouts, for nulls and baselines.

    Attributes:
        texts: in plain form.
        activations: [text, layer, d_model].
        positive, negative: [text, concept].
    """

    texts: Sequence[str]
    activations: Float[Tensor, "text layer d_model"]
    positive: Bool[Tensor, "text concept"]
    negative: Bool[Tensor, "text concept"]


def scores_of(
    activations: Float[Tensor, "text layer d_model"], vectors: Float[Tensor, "layer concept d_model"]
) -> Float[Tensor, "layer text concept"]:
    """Project activations onto every direction."""
    return einsum(
        activations.float(), vectors.float(), "text layer d_model, layer concept d_model -> layer text concept"
    )


def evaluate(
    vectors: Float[Tensor, "layer concept d_model"],
    concepts: Sequence[str],
    layers: Sequence[int],
    reading_layer: Int[Tensor, " concept"],
    unseen: UnseenTexts,
    reference: Reference | None = None,
    embedding: Float[Tensor, "text concept"] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Compute AUROC and average precision of every concept at its reading layer, with intervals, nulls and baselines.

    Args:
        vectors: unit rows.
        concepts, layers: names of the axes.
        reading_layer: [concept] layer index that was chosen without these texts.
        unseen: texts to judge on.
        reference: training texts. Without them there is no bag of words, and random directions have the covariance of the unseen
            texts.
        embedding: scores of the unseen texts by directions fitted on mean token embeddings.
        seed: of bootstrap, permutations and random directions.
    """
    column = torch.tensor([list(layers).index(layer) for layer in reading_layer.tolist()])
    scores = scores_of(unseen.activations, vectors)
    at_layer = rearrange(scores[column, :, torch.arange(len(concepts))], "concept text -> text concept")
    labels = unseen.positive, unseen.negative
    null = permutation_null(at_layer, *labels, unseen.groups, torch.Generator().manual_seed(seed))
    known = unseen.activations if reference is None else reference.activations
    random = random_direction_null(unseen.activations, *labels, known, torch.Generator().manual_seed(seed))
    nothing = torch.full((len(concepts),), torch.nan, dtype=torch.float64)
    words = nothing
    if reference is not None:
        words = auroc(
            bag_of_words_scores(reference.texts, reference.positive, reference.negative, unseen.texts), *labels
        )
    return Evaluation(
        concepts=tuple(concepts),
        data=unseen.what,
        reading_layer=reading_layer,
        auroc=auroc_interval(at_layer, *labels, unseen.groups, torch.Generator().manual_seed(seed)),
        average_precision=average_precision_interval(
            at_layer, *labels, unseen.groups, torch.Generator().manual_seed(seed)
        ),
        p_value=holm(null.p_value),
        permutation_null=null.quantile,
        random_null=random[column, torch.arange(len(concepts))],
        bag_of_words=words,
        embedding=nothing if embedding is None else auroc(embedding, *labels),
        n_positive=unseen.positive.sum(dim=0),
        n_negative=unseen.negative.sum(dim=0),
        n_groups=len(set(unseen.groups.tolist())),
    )
