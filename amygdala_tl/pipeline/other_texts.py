"""A readout on texts from elsewhere: held-out scores where they are labelled, the strongest and weakest passages where not."""

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from amygdala_tl.activations.runner import pool_texts
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.evaluation_data import EvaluationData
from amygdala_tl.diagnostics.records import Evaluation, Passages
from amygdala_tl.errors import InputError
from amygdala_tl.lens.model import LoadedModel
from amygdala_tl.pipeline.evaluate import Reference, UnseenTexts, evaluate, scores_of
from amygdala_tl.pipeline.labelled import LabelledTexts, group_numbers, label_matrix
from amygdala_tl.pipeline.select import of_concepts
from amygdala_tl.records import Corpus, Fit


def evaluate_texts(
    data: EvaluationData,
    fit: Fit,
    model: LoadedModel,
    *,
    trained_on: tuple[Corpus, ActivationStore] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Held-out generalisation to other labelled texts, of the concepts that are among their labels.

    Args:
        data: labelled texts.
        fit: directions, from `fit` or `fit_of`.
        model: the model they are of.
        trained_on: corpus and activations, for the bag of words and the random directions.
        seed: of bootstrap and nulls.

    Raises:
        InputError: no label is a concept of the readout.
    """
    known = [concept for concept in fit.concepts if concept.casefold() in data.labels]
    if not known:
        raise InputError(
            "no label of these texts is a concept of the readout",
            got=", ".join(sorted(data.labels)[:10]) or "no labels",
            need=", ".join(fit.concepts),
            remedy="label the texts with the readout's concepts",
        )
    fit = of_concepts(fit, known, {})
    named = sorted(data.labels)
    positive = [text.positive for text in data.texts]
    negative = [
        tuple(label for label in named if label not in text.positive) if text.negative is None else text.negative
        for text in data.texts
    ]
    folded = [concept.casefold() for concept in fit.concepts]
    unseen = UnseenTexts(
        what=f"{len(data.texts)} texts in {len({text.group for text in data.texts})} groups",
        texts=[text.text for text in data.texts],
        activations=_activations(data, fit, model)[0],
        positive=label_matrix(positive, folded),
        negative=label_matrix(negative, folded),
        groups=group_numbers([text.group for text in data.texts]),
    )
    return evaluate(
        fit.directions, fit.concepts, fit.layers, judged_layers(fit), unseen, _reference(fit, trained_on), seed=seed
    )


def extreme_passages(data: EvaluationData, fit: Fit, model: LoadedModel, most: int = 3) -> tuple[Passages, ...]:
    """The texts with the highest and the lowest z of every concept at its reading layer, to be judged by eye.

    Args:
        data: texts; labels are not looked at.
        fit: directions with calibration.
        model: the model they are of.
        most: how many a side.
    """
    activations, fine = _activations(data, fit, model)
    z = (scores_of(activations, fit.directions) - fit.text_calibration.mean[:, None]) / fit.text_calibration.std[
        :, None
    ]
    found = []
    for index, (concept, layer) in enumerate(zip(fit.concepts, judged_layers(fit).tolist(), strict=True)):
        column = fit.layers.index(layer)
        values = z[column, :, index].masked_fill(~fine[:, column], torch.nan)
        order = [place for place in values.argsort(descending=True).tolist() if not values[place].isnan()]
        sides = order[:most], order[::-1][: min(most, max(0, len(order) - most))]
        top, bottom = (tuple((float(values[place]), data.texts[place].text) for place in side) for side in sides)
        found.append(Passages(concept=concept, layer=layer, top=top, bottom=bottom))
    return tuple(found)


def judged_layers(fit: Fit) -> Int[Tensor, " concept"]:
    """Layer at which each concept was judged; without a verdict, the layer nearest to 0.65 of depth."""
    middle = min(fit.layers, key=lambda layer: abs(layer - 0.65 * (fit.model.n_layers - 1)))
    chosen = [int(fit.verdicts.get(concept, {}).get("layer", middle)) for concept in fit.concepts]
    return torch.tensor([layer if layer in fit.layers else middle for layer in chosen])


def _activations(data: EvaluationData, fit: Fit, model: LoadedModel) -> tuple[Tensor, Tensor]:
    settings = replace(fit.settings, token_components=0)
    return pool_texts(model, [text.text for text in data.texts], fit.layers, fit.read_position, settings)


def _reference(fit: Fit, trained_on: tuple[Corpus, ActivationStore] | None) -> Reference | None:
    if trained_on is None:
        return None
    corpus, store = trained_on
    texts = [text for text in corpus.texts if text.split == "train" and not text.neutral]
    labelled = LabelledTexts(texts, fit.concepts, store, fit.layers, fit.read_position, graded=False)
    whole = labelled.whole(spread=False)
    return Reference([text.text for text in texts], whole.activations, whole.positive, whole.negative)
