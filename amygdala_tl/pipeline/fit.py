"""Activations and labels to a fit: directions, calibrations, and where they come from."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.errors import FitError, InputError
from amygdala_tl.lens.hooks import parse_layers
from amygdala_tl.pipeline.method import AUTO, apply_method, choose_method, parse_method
from amygdala_tl.records import Calibration, Corpus, CorpusText, Fit, ReadPosition, TokenMoments

MIN_EXAMPLES = LabelRules().min_examples

Labels = Literal["classes", "graded"]

GRADED_ESTIMATORS = ("linear", "whitened")


def fit(
    corpus: Corpus,
    store: ActivationStore,
    *,
    layers: str | Sequence[int] | None = None,
    aggregator: str = AUTO,
    denoise: str = "",
    labels: Labels = "classes",
    read_position: ReadPosition = "pooled",
    min_examples: int = MIN_EXAMPLES,
) -> Fit:
    """Directions of the corpus's concepts from its training texts; held-out texts are not looked at.

    Args:
        corpus: texts and labels.
        store: their activations, from `capture`.
        layers: see `parse_layers`; all layers that have been captured for the whole corpus if None.
        aggregator: a name in `ESTIMATORS`, or `auto`: the best of `CANDIDATES` on held-out groups of the training texts.
        denoise: denoisers by name, comma-separated, see `parse_steps`; none with `auto`, which chooses them too.
        labels: `classes` for positive and negative texts, `graded` for the tags' scores (estimators `linear` and `whitened`).
        read_position: which tokens were pooled.
        min_examples: a concept with fewer positive or negative training texts is left out, and named in `Fit.left_out`.

    Raises:
        InputError: no such aggregator or denoiser, or a combination that makes no sense.
        FitError: no concept has enough examples, or a direction is zero or not finite.
        ActivationStoreError: texts have not been captured.
    """
    method = None if aggregator == AUTO else parse_method(aggregator, denoise)
    if method is None and denoise:
        raise InputError(
            "auto chooses the denoisers", got=f"--denoise {denoise}", remedy="name an --aggregator beside it"
        )
    if labels == "graded" and aggregator not in GRADED_ESTIMATORS:
        raise InputError(
            "the aggregator takes no graded labels",
            got=aggregator,
            need=" or ".join(GRADED_ESTIMATORS),
            remedy="change --aggregator",
        )
    indices = _layers(layers, corpus, store)
    texts = [text for text in corpus.texts if text.split == "train"]
    concepts, left_out = _enough(corpus, texts, min_examples)
    ids = [text.id for text in texts]
    activations = store.load(ids, indices, read_position)
    whole = LabelledActivations(
        activations=activations,
        positive=label_matrix([text.positive for text in texts], concepts),
        negative=label_matrix([text.negative for text in texts], concepts),
        groups=group_numbers([text.group for text in texts]),
        grades=grade_matrix(texts, concepts) if labels == "graded" else None,
    )
    neutral_rows = torch.tensor([text.neutral for text in texts])
    # Neutral texts carry no label: estimators see the others only, denoisers get the neutral ones beside them.
    data, neutral = whole.take(~neutral_rows), activations[neutral_rows]
    comparison: dict[str, Any] = {}
    if method is None:
        method, table = choose_method(data, neutral)
        comparison = {"chosen_from": table}
    fitted = apply_method(method, data, neutral, concepts)
    return Fit(
        concepts=concepts,
        layers=indices,
        directions=fitted.directions,
        text_calibration=_calibrate_texts(activations, fitted.directions),
        token_calibration=_calibrate_tokens(store.token_moments(ids, indices), fitted.directions),
        model=store.info,
        settings=store.settings,
        read_position=read_position,
        estimator={**fitted.estimator, "labels": labels, **comparison},
        denoisers=fitted.denoisers,
        corpus_sha256=corpus.sha256,
        counts={
            concept: {"positive": int(data.positive[:, column].sum()), "negative": int(data.negative[:, column].sum())}
            for column, concept in enumerate(concepts)
        },
        left_out={**corpus.left_out, **left_out},
    )


def grade_matrix(texts: Sequence[CorpusText], concepts: Sequence[str]) -> Float[Tensor, "text concept"]:
    """Tag score / 10 of every text and concept, 0 without the tag, NaN for texts without any tag.

    Raises:
        InputError: no text has a score.
    """
    if not any(text.scores for text in texts):
        raise InputError("the corpus has no graded labels", got="--labels graded", remedy="use --labels classes")
    rows = [
        [text.scores.get(concept, 0.0) / 10.0 if text.scores else torch.nan for concept in concepts] for text in texts
    ]
    return torch.tensor(rows)


def label_matrix(labels: Sequence[Sequence[str]], concepts: Sequence[str]) -> Bool[Tensor, "text concept"]:
    """True where a text's labels hold the concept."""
    column = {concept: index for index, concept in enumerate(concepts)}
    matrix = torch.zeros(len(labels), len(concepts), dtype=torch.bool)
    for row, names in enumerate(labels):
        for name in names:
            if name in column:
                matrix[row, column[name]] = True
    return matrix


def group_numbers(groups: Sequence[str]) -> Int[Tensor, " text"]:
    """A number a text, equal where the group is."""
    numbers = {group: number for number, group in enumerate(sorted(set(groups)))}
    return torch.tensor([numbers[group] for group in groups])


def _layers(layers: str | Sequence[int] | None, corpus: Corpus, store: ActivationStore) -> tuple[int, ...]:
    if layers is not None:
        return parse_layers(layers, store.info.n_layers)
    if captured := store.layers_of([text.id for text in corpus.texts]):
        return captured
    raise FitError(
        "no layer has been captured for the whole corpus",
        label=str(store.folder),
        remedy="run `amygdala-tl capture` on this corpus",
    )


def _enough(corpus: Corpus, texts: Sequence[CorpusText], min_examples: int) -> tuple[tuple[str, ...], dict[str, str]]:
    """Concepts with enough training texts of both classes, and why the others are left out."""
    left_out: dict[str, str] = {}
    for concept in corpus.concepts:
        for name, count in (
            ("positive", sum(concept in text.positive for text in texts)),
            ("negative", sum(concept in text.negative for text in texts)),
        ):
            if count < min_examples:
                left_out.setdefault(concept, f"{count} {name} training texts, need {min_examples}")
    concepts = tuple(concept for concept in corpus.concepts if concept not in left_out)
    if not concepts:
        raise FitError(
            "no concept has enough examples",
            got="; ".join(f"{concept}: {why}" for concept, why in list(left_out.items())[:5]) or "no concepts",
            remedy="label more texts, or lower --min-examples",
        )
    return concepts, left_out


def _calibrate_texts(
    activations: Float[Tensor, "text layer d_model"], directions: Float[Tensor, "concept layer d_model"]
) -> Calibration:
    scores = einsum(
        activations.double(), directions.double(), "text layer d_model, concept layer d_model -> text layer concept"
    )
    return Calibration(mean=scores.mean(dim=0).float(), std=scores.std(dim=0).float(), n=len(scores))


def _calibrate_tokens(moments: TokenMoments, directions: Float[Tensor, "concept layer d_model"]) -> Calibration:
    wide = directions.double()
    mean = einsum(moments.mean.double(), wide, "layer d_model, concept layer d_model -> layer concept")
    square = einsum(
        moments.second.double(), wide, wide,
        "layer d_model other, concept layer d_model, concept layer other -> layer concept",
    )  # fmt: skip
    std = (square - mean.square()).clamp_min(0.0).sqrt()
    return Calibration(mean=mean.float(), std=std.float(), n=int(moments.count.min()))
