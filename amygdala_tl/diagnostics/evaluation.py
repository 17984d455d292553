"""Evaluation of a readout on texts that it was not fitted on, against nulls, words and embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.diagnostics.baselines import bag_of_words_scores
from amygdala_tl.diagnostics.intervals import auroc_intervals, average_precision_interval
from amygdala_tl.diagnostics.nulls import permutation_null, random_direction_null
from amygdala_tl.diagnostics.records import Evaluation
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.data import LabelledTexts
from amygdala_tl.readout.record import Readout


@dataclass(frozen=True, slots=True)
class JudgedTexts:
    """Texts with their labels and their activations at the readout's layers, in one order.

    Attributes:
        texts: in plain form.
        data: labels, groups and activations.
        ids: of the texts, to name the outliers among them.
        counts: how many tokens each activation is the mean of; None where that is not known.
    """

    texts: Sequence[str]
    data: LabelledTexts
    ids: Sequence[str] = ()
    counts: Int[Tensor, "text layer"] | None = None


def text_scores(readout: Readout, data: LabelledTexts) -> Float[Tensor, "text layer concept"]:
    """Score every text at every layer of the readout."""
    scores = torch.empty(len(data.groups), len(readout.layers), len(readout.concepts))
    for rows, part in data.passes():
        scores[rows] = readout.scores(part.activations)
    return scores


def judged_scores(
    readout: Readout,
    reading_layer: Int[Tensor, " concept"],
    scores: Float[Tensor, "text layer concept"],
    counts: Int[Tensor, "text layer"] | None,
) -> Float[Tensor, "text concept"]:
    """Return what a readout is judged by: z over all layers; without such a score, each concept's score at its reading layer."""
    if readout.combined is not None:
        return readout.combined_z(scores, of="texts", tokens=counts)
    return at_reading_layer(readout, scores, reading_layer)


def at_reading_layer(
    readout: Readout, values: Float[Tensor, "row layer concept"], reading_layer: Int[Tensor, " concept"]
) -> Float[Tensor, "row concept"]:
    """Take each concept's values at its reading layer."""
    column = torch.tensor([readout.column(layer) for layer in reading_layer.tolist()])
    return values[:, column, torch.arange(len(column))]


def evaluate(
    readout: Readout,
    reading_layer: Int[Tensor, " concept"],
    unseen: JudgedTexts,
    what: str,
    reference: JudgedTexts | None = None,
    embedding: Float[Tensor, "text concept"] | None = None,
    scores: Float[Tensor, "text layer concept"] | None = None,
    seed: int = 0,
    *,
    words: Float[Tensor, "text concept"] | None = None,
    random: Float[Tensor, "row concept"] | None = None,
) -> Evaluation:
    """Compute AUROC and average precision of every concept, with intervals, nulls and baselines.

    Args:
        readout: no direction was fitted on the unseen texts or on texts of the same groups.
        reading_layer: [concept] layer index that was chosen without these texts.
        unseen: texts to judge on.
        what: description of the unseen texts for the reader of a table.
        reference: training texts. Without them there is no bag of words, and random directions have the covariance of the unseen
            texts.
        embedding: scores of the unseen texts by directions fitted on mean token embeddings.
        scores: of the unseen texts, if they are known (`text_scores`).
        seed: of bootstrap, permutations and random directions.
        words: scores of the unseen texts by a bag of words, if they are known.
        random: their null of random directions, if it is known.
    """
    data = unseen.data
    scores = text_scores(readout, data) if scores is None else scores
    own = judged_scores(readout, reading_layer, scores, unseen.counts)
    known = data if reference is None else reference.data
    if words is None and reference is not None:
        words = bag_of_words_scores(reference.texts, known.positive, known.negative, unseen.texts)
    words = torch.full(own.shape, torch.nan) if words is None else words
    embedding = torch.full(own.shape, torch.nan) if embedding is None else embedding
    if random is None:
        generator = torch.Generator().manual_seed(seed)
        random = random_direction_null(data, known, generator, combined=readout.combined is not None)
    return judged(readout, reading_layer, own, data, what, random, (words, embedding), seed)


def judged(
    readout: Readout,
    reading_layer: Int[Tensor, " concept"],
    scores: Float[Tensor, "text concept"],
    data: LabelledTexts,
    what: str,
    random: Float[Tensor, "row concept"],
    baselines: tuple[Float[Tensor, "text concept"], Float[Tensor, "text concept"]],
    seed: int = 0,
    *,
    cross_fitted: bool = False,
) -> Evaluation:
    """Judge one score of each concept, which was made without the texts or their groups.

    Args:
        readout: that the scores come from, or its method.
        reading_layer: [concept] layer index.
        scores: over all layers, or at the reading layer for a readout without such a score.
        data: labels, groups and activations of the texts.
        what: description of the texts for the reader of a table.
        random: null of random directions at every layer, and of sums over layers for a readout with such a score.
        baselines: scores of the same texts by their words, and by their embeddings; NaN where there are none.
        seed: of bootstrap and permutations.
        cross_fitted: see `ScoredTexts`.
    """
    combined = readout.combined is not None
    texts = ScoredTexts(scores, data.positive, data.negative, data.groups, cross_fitted)
    null = permutation_null(texts, torch.Generator().manual_seed(seed))
    bag_of_words, of_embedding = (auroc(scored, data.positive, data.negative) for scored in baselines)
    found, (against_words, against_embedding) = auroc_intervals(texts, baselines, torch.Generator().manual_seed(seed))
    return Evaluation(
        concepts=readout.concepts,
        data=what,
        reading_layer=reading_layer,
        auroc=found,
        average_precision=average_precision_interval(texts, torch.Generator().manual_seed(seed)),
        p_value=null.corrected,
        permutation_null=null.quantile,
        random_null=random[-1] if combined else at_reading_layer(readout, random[None], reading_layer)[0],
        bag_of_words=bag_of_words,
        embedding=of_embedding,
        against_words=against_words,
        against_embedding=against_embedding,
        n_positive=data.positive.sum(dim=0),
        n_negative=data.negative.sum(dim=0),
        n_groups=len(torch.unique(data.groups)),
        combined=combined,
    )
