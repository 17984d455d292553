"""A diagnosis as the values that the page's scripts read: JSON for few numbers, packed bytes for many.

A JSON float costs about eight characters; matrices over 200 concepts and scores of every token have millions of numbers,
of which a page shows one or two decimals. Those travel as one signed byte each, base64-encoded, exact to the decimal shown.
"""

import base64
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
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

MATRIX_STEP = 0.01
"""Cosines, correlations and AUROCs lie in [-1, 1]: steps of 0.01 fit a signed byte."""

Z_STEP = 0.1
"""Token z-scores: a signed byte reaches 12.7 deviations, far past the strongest colour; what lies beyond is shown as 12.7."""

NOTHING = -128
"""The byte that stands for NaN."""


def page_data(diagnosis: Diagnosis) -> dict[str, Any]:
    """Everything the page's scripts show, as JSON-ready values; NaN and infinities become None."""
    return {
        "concepts": list(diagnosis.concepts),
        "layers": list(diagnosis.layers),
        "commonLayer": most_common_layer(diagnosis),
        "byLayer": _separation(diagnosis.by_layer),
        "evaluation": _evaluation(diagnosis.evaluation),
        "quality": [_quality(quality) for quality in diagnosis.quality],
        "crosstalk": [_crosstalk(crosstalk) for crosstalk in diagnosis.crosstalk],
        "geometry": [_geometry(geometry) for geometry in diagnosis.geometry],
        "texts": [_text(text) for text in diagnosis.texts],
    }


def most_common_layer(diagnosis: Diagnosis) -> int:
    """Index of the layer at which most concepts are read, the earliest of several: what a view of one layer opens with."""
    counts = Counter(quality.layer for quality in diagnosis.quality)
    return min(counts, key=lambda layer: (-counts[layer], layer)) if counts else diagnosis.layers[0]


def mean_of_known(values: Iterable[float]) -> float:
    """Mean over the values that are numbers, NaN if none is."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def packed(values: Tensor, step: float) -> dict[str, Any]:
    """A tensor as signed bytes in steps of `step`, base64, last axis fastest; NaN is `NOTHING`, +-127 steps are the most."""
    whole = torch.nan_to_num(values.detach().cpu().double() / step, nan=NOTHING, posinf=127, neginf=-127).round()
    whole = torch.where(values.detach().cpu().isnan(), whole, whole.clamp(-127, 127)).to(torch.int8)
    return {
        "bytes": base64.b64encode(whole.contiguous().numpy().tobytes()).decode("ascii"),
        "shape": list(values.shape),
        "step": step,
    }


def plain(values: Tensor) -> Any:
    """A tensor as nested lists, numbers rounded to four decimals, None where they are not finite."""
    return _rounded(values.detach().cpu().tolist())


def number(value: float) -> float | None:
    """A number rounded to four decimals, None where it is not finite."""
    return round(value, 4) if math.isfinite(value) else None


def _rounded(value: Any) -> Any:
    return [_rounded(item) for item in value] if isinstance(value, list) else number(value)


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
        "data": evaluation.data,
        "auroc": _interval(evaluation.auroc),
        "averagePrecision": _interval(evaluation.average_precision),
        "p": plain(evaluation.p_value),
        "permutationNull": plain(evaluation.permutation_null),
        "randomNull": plain(evaluation.random_null),
        "bagOfWords": plain(evaluation.bag_of_words),
        "embedding": plain(evaluation.embedding),
        "nPositive": evaluation.n_positive.tolist(),
        "nNegative": evaluation.n_negative.tolist(),
        "nGroups": evaluation.n_groups,
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
        "rSquared": plain(crosstalk.r_squared),
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
