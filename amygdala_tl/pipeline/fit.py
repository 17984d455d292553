"""Activations and labels to a fit: directions, calibrations, and where they come from."""

from collections.abc import Sequence
from typing import Any, Literal

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.directions.choice import choose_method
from amygdala_tl.directions.estimator import check_classes
from amygdala_tl.directions.method import AUTO, apply_method, apply_streamed, parse_method
from amygdala_tl.errors import FitError, InputError
from amygdala_tl.lens.hooks import parse_layers
from amygdala_tl.pipeline.labelled import LabelledTexts
from amygdala_tl.readout.calibration import calibrate_texts, calibrate_tokens
from amygdala_tl.records import Corpus, CorpusText, Fit, ReadPosition

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

    `mean` and `whitened`, named and without denoisers of activations, pass over the store in parts, so that memory is set by
    layers, d_model and concepts; all other methods hold the training texts' activations.

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
    if aggregator == "subspace" and read_position != "pooled":
        raise InputError(
            "subspaces are those of all tokens of a text",
            got=f"--read-position {read_position}",
            remedy="use --read-position pooled",
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
    # Neutral texts carry no label: estimators see the others only, denoisers get the neutral ones beside them.
    labelled = LabelledTexts(
        [text for text in texts if not text.neutral], concepts, store, indices, read_position, graded=labels == "graded"
    )
    comparison: dict[str, Any] = {}
    check_classes(labelled.positive, labelled.negative, concepts)
    if method is not None and method.streamable:
        fitted = apply_streamed(method, labelled.parts, labelled.groups, concepts)
    else:
        data = labelled.whole(spread=aggregator == "subspace")
        neutral = store.load([text.id for text in texts if text.neutral], indices, read_position)
        if method is None:
            method, table = choose_method(data, neutral)
            comparison = {"chosen_from": table}
        fitted = apply_method(method, data, neutral, concepts)
    ids = [text.id for text in texts]
    return Fit(
        concepts=concepts,
        layers=indices,
        directions=fitted.directions,
        text_calibration=calibrate_texts(
            (values for _, values in store.batches(ids, indices, read_position)), fitted.directions
        ),
        token_calibration=calibrate_tokens(store.token_moments(ids, indices), fitted.directions),
        model=store.info,
        settings=store.settings,
        read_position=read_position,
        estimator={**fitted.estimator, "method": str(method), "labels": labels, **comparison},
        denoisers=fitted.denoisers,
        corpus_sha256=corpus.sha256,
        counts={
            concept: {
                "positive": int(labelled.positive[:, column].sum()),
                "negative": int(labelled.negative[:, column].sum()),
            }
            for column, concept in enumerate(concepts)
        },
        left_out={**corpus.left_out, **left_out},
    )


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
