"""`fit`: activations and labels become a readout, with calibrations and provenance."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from amygdala_tl.activations.golden import read_golden
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.labelled import StoredTexts, group_by_domain, runnable, some_of
from amygdala_tl.corpus.record import Corpus, trainable_concepts
from amygdala_tl.directions.choice import CANDIDATES, choose_method
from amygdala_tl.directions.erasure import erase_by
from amygdala_tl.directions.estimators import check_classes, unit_directions
from amygdala_tl.directions.method import Method, apply_method, apply_streamed, requested_methods
from amygdala_tl.directions.partial_whitening import POWERS, partly_whiten
from amygdala_tl.directions.statistics import Statistics, gather
from amygdala_tl.directions.whitening import strengths_for
from amygdala_tl.errors import FitError
from amygdala_tl.lens.hooks import parse_layers
from amygdala_tl.lens.wrap import exported
from amygdala_tl.readout.bundle import LEAST_COSINE
from amygdala_tl.readout.calibration import Lengths, calibrate
from amygdala_tl.readout.erasing import Erasing
from amygdala_tl.readout.provenance import Provenance
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import ModelInfo, ReadPosition, hook_name
from amygdala_tl.settings import FIT, Labels, Writer


def fit(
    corpus: Corpus,
    store: ActivationStore,
    *,
    layers: str | Sequence[int] | None = None,
    aggregator: str = FIT.aggregator,
    denoise: str = FIT.denoise,
    labels: Labels = FIT.labels,
    read_position: ReadPosition = FIT.read_position,
    min_examples: int = FIT.min_examples,
    writer: Writer = FIT.writer,
) -> Readout:
    """Compute the directions of the corpus's concepts from its training texts; held-out texts are not read.

    Texts that `capture` left out, because the model cannot run them, are not read either.

    In a corpus that joins several, methods and strengths are chosen on domains that the directions have not seen.

    `mean`, `whitened` and `joint` without denoisers of activations pass over the store in parts. Their memory depends on layers,
    d_model and concepts only. All other methods hold the training texts' activations, and `auto` those of the texts that it
    compares methods on.

    Args:
        corpus: texts and labels.
        store: their activations, from `capture`.
        layers: see `parse_layers`; all layers that have been captured for the whole corpus if None.
        aggregator: name of an estimator; several, comma-separated, or `auto` for the best of them or of a few on held-out groups
            of at most 10,000 training texts.
        denoise: names of denoisers, comma-separated; none with `auto`, which chooses them too.
        labels: `classes` for positive and negative texts, `graded` for the tags' scores (`linear` and `whitened`).
        read_position: tokens that were pooled.
        min_examples: fewest positive and negative training texts; the provenance names concepts with fewer in `left_out`.
        writer: estimator of the write vectors, which steer. `read` for none: then those that read steer too.

    Raises:
        InputError: no such aggregator or denoiser, or a combination that makes no sense.
        FitError: no concept has enough examples, or a direction is zero or not finite.
        ActivationStoreError: texts have not been captured.
    """
    methods, corpus = requested_methods(aggregator, denoise, labels, read_position), runnable(corpus, store)
    indices = _layers(layers, corpus, store)
    texts = [text for text in corpus.texts if text.split == "train"]
    concepts, left_out = trainable_concepts(corpus, min_examples)
    # Neutral texts carry no label: estimators see the others only, denoisers get the neutral ones beside them.
    labelled = StoredTexts(
        [text for text in texts if not text.neutral],
        concepts,
        store,
        indices,
        read_position,
        graded=labels == "graded",
        spread=methods is not None and any(each.aggregator == "subspace" for each in methods),
    )
    group_by_domain(labelled, corpus)
    comparison: dict[str, Any] = {}
    check_classes(labelled.positive, labelled.negative, concepts)
    neutral = [text.id for text in texts if text.neutral]
    if methods is None or len(methods) > 1:
        compared = store.load(some_of(neutral), indices, read_position)
        method, table = choose_method(labelled.sample(), compared, methods or CANDIDATES)
        comparison = {"chosen_from": table, "requested": aggregator}
    else:
        (method,) = methods
    if method.streamable:
        fitted = apply_streamed(method, labelled.parts, labelled.groups, concepts)
    else:
        fitted = apply_method(method, labelled.whole(), store.load(neutral, indices, read_position), concepts)
    ids = [text.id for text in texts]
    counts = torch.stack((labelled.positive.sum(dim=0), labelled.negative.sum(dim=0)), dim=1)
    vectors = exported(rearrange(fitted.directions, "concept layer d_model -> layer concept d_model"), store.info)
    write, erasing, steers = None, None, method if writer == "read" else Method(writer)
    if steers != method:
        statistics = fitted.statistics
        if statistics is None or statistics.covariance is None:
            parts = (replace(part, grades=None) for part in labelled.parts())
            statistics = gather(parts, second_moments=True)
        write, erasing = _written(writer, statistics, concepts, store.info)
    scale, combined = calibrate(
        (part for _, part in store.batches(ids, indices, read_position)),
        store.tokens(ids, indices),
        _lengths(ids, store, indices, read_position),
        vectors,
    )
    readout = Readout(
        concepts=concepts,
        layers=indices,
        vectors=vectors,
        text_calibration=scale.texts,
        token_calibration=scale.tokens,
        length_calibration=scale.lengths,
        combined=combined,
        write_vectors=write,
        erasing=erasing,
        provenance=Provenance(
            model=store.info,
            hooks={str(layer): hook_name(layer) for layer in indices},
            capture=store.settings,
            read_position=read_position,
            estimator={**fitted.estimator, "method": str(method), "labels": labels, **comparison},
            denoisers=fitted.denoisers,
            corpus_sha256=corpus.sha256,
            corpus=dict(corpus.parameters),
            counts={
                concept: dict(zip(("positive", "negative"), count, strict=True))
                for concept, count in zip(concepts, counts.tolist(), strict=True)
            },
            left_out={**corpus.left_out, **left_out},
            writer=None if write is None else str(steers),
        ),
    )
    golden = read_golden(store)
    kept = golden.streams.keys() >= set(indices)
    return readout.with_golden(golden.texts, golden.ids, golden.at(indices)) if kept else readout


def _written(
    writer: Writer, statistics: Statistics, concepts: tuple[str, ...], info: ModelInfo
) -> tuple[Tensor, Erasing | None]:
    """Return write vectors [layer, concept, d_model] and what erases; None if it cannot be fitted."""
    strengths = strengths_for(statistics, None)
    power = POWERS.get(writer)
    vectors = statistics.difference if power is None else partly_whiten(statistics, strengths, power).vectors

    def by_layer(vectors: Tensor) -> Tensor:
        unit = unit_directions(vectors, concepts)
        return exported(rearrange(unit, "concept layer d_model -> layer concept d_model"), info)

    write = by_layer(vectors)
    try:
        eraser = erase_by(statistics, concepts, range(len(strengths)), strengths)
        erasing = Erasing(by_layer(eraser.weights), by_layer(eraser.difference), eraser.mean)
    except FitError:  # so few texts that a coordinate follows from the others
        return write, None
    return write, erasing if bool((erasing.sizes()[0] > 2 * LEAST_COSINE).all()) else None


def _lengths(
    ids: list[str],
    store: ActivationStore,
    layers: tuple[int, ...],
    position: ReadPosition,
) -> Lengths | None:
    """Yield lengths and activations of a bounded number of texts; None at positions that are no mean, and without lengths."""
    ids = some_of(ids)
    counts = store.load_counts(ids, layers) if position == "pooled" else None
    if counts is None:
        return None
    return ((counts[rows], activations) for rows, activations in store.batches(ids, layers, position))


def _layers(layers: str | Sequence[int] | None, corpus: Corpus, store: ActivationStore) -> tuple[int, ...]:
    if layers is not None:
        return parse_layers(layers, store.info.n_layers)
    if captured := store.layers_of([text.id for text in corpus.texts]):
        return captured
    raise FitError(
        "no layer has been captured for the whole corpus", label=str(store.folder), remedy="capture the corpus first"
    )
