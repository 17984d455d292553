"""A readout on texts from elsewhere: held-out scores where they are labelled, the strongest and weakest passages where not."""

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from amygdala_tl.activations.runner import pool_texts
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.evaluation_data import EvaluationData
from amygdala_tl.diagnostics.evaluation import Reference, UnseenTexts, evaluate, scores_of
from amygdala_tl.diagnostics.records import Evaluation, Passages
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.method import read_method
from amygdala_tl.errors import InputError
from amygdala_tl.lens.model import Lens
from amygdala_tl.memory.tags import fold_name
from amygdala_tl.pipeline.embedding_baseline import embedding_scores
from amygdala_tl.pipeline.labelled import LabelledTexts, group_numbers, label_matrix
from amygdala_tl.pipeline.select import of_concepts
from amygdala_tl.records import Corpus, Fit


def evaluate_texts(
    data: EvaluationData,
    fit: Fit,
    model: Lens,
    *,
    trained_on: tuple[Corpus, ActivationStore] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Held-out generalisation to other labelled texts, of the concepts that are among their labels.

    Args:
        data: labelled texts.
        fit: directions, from `fit` or `fit_of`.
        model: the model they are of.
        trained_on: corpus and activations, for the bag of words, the embedding baseline and the random directions.
        seed: of bootstrap and nulls.

    Raises:
        InputError: no label is a concept of the readout, or no text has more than one token.
    """
    known = [concept for concept in fit.concepts if fold_name(concept) in data.labels]
    if not known:
        raise InputError(
            "no label of these texts is a concept of the readout",
            got=", ".join(sorted(data.labels)[:10]) or "no labels",
            need=", ".join(fit.concepts),
            remedy="label the texts with the readout's concepts",
        )
    fit = of_concepts(fit, known, {})
    activations, fine = _activations(data, fit, model)
    readable = fine.all(dim=1)
    if not bool(readable.any()):
        raise InputError("the texts are too short to read", got="one token each", remedy="give longer texts")
    texts = [text for text, whole in zip(data.texts, readable.tolist(), strict=True) if whole]
    named = sorted(data.labels)
    negative = [
        tuple(label for label in named if label not in text.positive) if text.negative is None else text.negative
        for text in texts
    ]
    folded = [fold_name(concept) for concept in fit.concepts]
    unseen = UnseenTexts(
        what=f"{len(texts)} texts in {len({text.group for text in texts})} groups"
        + (
            f", without {short} that are nothing but an attention sink"
            if (short := len(data.texts) - len(texts))
            else ""
        ),
        texts=[text.text for text in texts],
        activations=activations[readable],
        positive=label_matrix([text.positive for text in texts], folded),
        negative=label_matrix(negative, folded),
        groups=group_numbers([text.group for text in texts]),
    )
    judged = judged_layers(fit)
    if trained_on is None:
        return evaluate(fit.directions, fit.concepts, fit.layers, judged, unseen, seed=seed)
    method = read_method(str(fit.estimator["method"]))
    known_texts, known_data = _trained_on(fit, *trained_on)
    return evaluate(
        fit.directions,
        fit.concepts,
        fit.layers,
        judged,
        unseen,
        Reference(known_texts, known_data.activations, known_data.positive, known_data.negative),
        embedding_scores(model, fit.settings, method, known_texts, known_data, unseen.texts),
        seed=seed,
    )


def extreme_passages(data: EvaluationData, fit: Fit, model: Lens, most: int = 3) -> tuple[Passages, ...]:
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


def _activations(data: EvaluationData, fit: Fit, model: Lens) -> tuple[Tensor, Tensor]:
    settings = replace(fit.settings, token_components=0)
    return pool_texts(model, [text.text for text in data.texts], fit.layers, fit.read_position, settings)


def _trained_on(fit: Fit, corpus: Corpus, store: ActivationStore) -> tuple[list[str], LabelledActivations]:
    texts = [text for text in corpus.texts if text.split == "train" and not text.neutral]
    graded = fit.estimator.get("labels") == "graded"
    labelled = LabelledTexts(texts, fit.concepts, store, fit.layers, fit.read_position, graded=graded)
    return [text.text for text in texts], labelled.whole(spread=False)
