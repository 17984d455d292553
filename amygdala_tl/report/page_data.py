"""A diagnosis as the values that the page's scripts read; `web/report/types.d.ts` describes them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from amygdala_tl.diagnostics.records import (
    ConceptQuality,
    CrossTalk,
    Diagnosis,
    Evaluation,
    Geometry,
    Interval,
    LayerSeparation,
    ReadText,
)
from amygdala_tl.report.figures import held_out_figure
from amygdala_tl.report.packing import mean_of_known, number, packed, plain

MATRIX_STEP = 0.01
"""Cosines, correlations and AUROCs lie in [-1, 1], so steps of 0.01 fit a signed byte."""

Z_STEP = 0.1
"""Token z-scores: a signed byte reaches 12.7 deviations, far past the strongest colour. Values beyond are shown as 12.7."""


def page_data(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return everything that the page's scripts show, ready for JSON; NaN and infinities become None."""
    return {
        "concepts": list(diagnosis.concepts),
        "layers": list(diagnosis.layers),
        "commonLayer": most_common_layer(diagnosis),
        "byLayer": _separation(diagnosis.by_layer),
        "evaluation": _evaluation(diagnosis.evaluation),
        "heldOut": held_out_figure(diagnosis),
        "quality": [_quality(quality) for quality in diagnosis.quality],
        "crosstalk": [_crosstalk(crosstalk) for crosstalk in diagnosis.crosstalk],
        "geometry": [_geometry(geometry) for geometry in diagnosis.geometry],
        "texts": [_text(text) for text in diagnosis.texts],
    }


def most_common_layer(diagnosis: Diagnosis) -> int:
    """Return the layer at which most concepts are read, the earliest of several. Views of one layer open with it."""
    counts = Counter(quality.layer for quality in diagnosis.quality)
    return min(counts, key=lambda layer: (-counts[layer], layer)) if counts else diagnosis.layers[0]


def _interval(interval: Interval) -> dict[str, Any]:
    return {"value": plain(interval.value), "low": plain(interval.low), "high": plain(interval.high)}


def _separation(separation: LayerSeparation) -> dict[str, Any]:
    metrics = {"auroc": separation.auroc, "dPrime": separation.d_prime, "fisher": separation.fisher_ratio}
    return {
        "layers": list(separation.layers),
        "of": separation.of,
        "metrics": {
            name: {**_interval(interval), "mean": [number(mean_of_known(row)) for row in interval.value.tolist()]}
            for name, interval in metrics.items()
        },
        "nPositive": separation.n_positive.tolist(),
        "nNegative": separation.n_negative.tolist(),
    }


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "auroc": _interval(evaluation.auroc),
        "averagePrecision": _interval(evaluation.average_precision),
        "p": plain(evaluation.p_value),
        "permutationNull": plain(evaluation.permutation_null),
        "randomNull": plain(evaluation.random_null),
        "bagOfWords": plain(evaluation.bag_of_words),
        "embedding": plain(evaluation.embedding),
        "nPositive": evaluation.n_positive.tolist(),
        "nNegative": evaluation.n_negative.tolist(),
    }


def _quality(quality: ConceptQuality) -> dict[str, Any]:
    return {
        "layer": quality.layer,
        "verdict": quality.verdict,
        "reason": quality.reason,
        "redundantWith": quality.redundant_with,
        "agreement": number(quality.agreement),
        "firstPcShare": number(quality.first_pc_share),
        "effectiveDimension": number(quality.effective_dimension),
        "splitHalfCosine": number(quality.split_half_cosine),
        "outliers": [
            {"text": outlier.text, "words": outlier.words, "labelled": outlier.labelled, "z": number(outlier.z)}
            for outlier in quality.outliers
        ],
        "nearest": [[concept, number(cosine)] for concept, cosine in quality.nearest],
        "neuron": None
        if quality.neuron is None
        else {"layer": quality.neuron[0], "index": quality.neuron[1], "cosine": number(quality.neuron[2])},
        "tokensUp": list(quality.tokens_up),
        "tokensDown": list(quality.tokens_down),
    }


def _crosstalk(crosstalk: CrossTalk) -> dict[str, Any]:
    return {
        "layer": crosstalk.layer,
        "cosine": packed(crosstalk.cosine, MATRIX_STEP),
        "auroc": packed(crosstalk.auroc, MATRIX_STEP),
        "labelCorrelation": packed(crosstalk.label_correlation, MATRIX_STEP),
        "nPositive": crosstalk.n_positive.tolist(),
        "nNegative": crosstalk.n_negative.tolist(),
        "cluster": crosstalk.cluster.tolist(),
        "order": list(crosstalk.order),
        "warnings": [
            {
                "first": warning.first,
                "second": warning.second,
                "finding": warning.finding,
                "cosine": number(warning.cosine),
                "scoreCorrelation": number(warning.score_correlation),
                "labelCorrelation": number(warning.label_correlation),
                "contrast": [number(value) for value in warning.contrast],
                "nFirstOnly": warning.n_first_only,
                "nSecondOnly": warning.n_second_only,
            }
            for warning in crosstalk.warnings
        ],
    }


def _geometry(geometry: Geometry) -> dict[str, Any]:
    norms: Mapping[str, Tensor] = geometry.norms
    return {
        "layer": geometry.layer,
        "coordinates": plain(geometry.coordinates[:, :2]),
        "explained": plain(geometry.explained),
        "norms": [[name, plain(correlations)] for name, correlations in norms.items()],
        "nNorms": geometry.n_norms,
    }


def _text(text: ReadText) -> dict[str, Any]:
    return {"id": text.id, "labels": list(text.labels), "tokens": list(text.tokens), "z": packed(text.z, Z_STEP)}
