"""A diagnosis as the values that the page's scripts read; `web/report/types.d.ts` describes them."""

from collections import Counter
from typing import Any

import torch
from einops import rearrange

from amygdala_tl.diagnostics.records import ConceptQuality, CrossTalk, Diagnosis, Geometry, LayerSeparation, ReadText
from amygdala_tl.report.figures import held_out_figure
from amygdala_tl.report.packing import camel, mean_of_known, packed, plain, plain_record

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
        "evaluation": plain_record(diagnosis.evaluation, without=("concepts", "data", "reading_layer", "n_groups")),
        "heldOut": held_out_figure(diagnosis),
        "quality": list(map(_quality, diagnosis.quality)),
        "crosstalk": list(map(_crosstalk, diagnosis.crosstalk)),
        "geometry": list(map(_geometry, diagnosis.geometry)),
        "texts": list(map(_text, diagnosis.texts)),
    }


def most_common_layer(diagnosis: Diagnosis) -> int:
    """Return the layer at which most concepts are read, the earliest of several. Views of one layer open with it."""
    counts = Counter(quality.layer for quality in diagnosis.quality)
    return min(counts, key=lambda layer: (-counts[layer], layer)) if counts else diagnosis.layers[0]


def _separation(found: LayerSeparation) -> dict[str, Any]:
    metrics = {"auroc": found.auroc, "dPrime": found.d_prime, "fisher": found.fisher_ratio}
    means = {name: [mean_of_known(row) for row in of.value.tolist()] for name, of in metrics.items()}
    return {
        **plain_record(found, without=("concepts", "auroc", "d_prime", "fisher_ratio")),
        "metrics": {name: {**plain_record(of), "mean": plain(means[name])} for name, of in metrics.items()},
    }


def _quality(found: ConceptQuality) -> dict[str, Any]:
    named = None if found.neuron is None else dict(zip(("layer", "index", "cosine"), plain(found.neuron), strict=True))
    return {**plain_record(found, without=("concept", "neuron")), "neuron": named}


def _crosstalk(found: CrossTalk) -> dict[str, Any]:
    matrices = ("cosine", "auroc", "label_correlation")
    rest = plain_record(found, without=("concepts", "score_correlation", "r_squared", *matrices))
    return rest | {camel(name): packed(getattr(found, name), MATRIX_STEP) for name in matrices}


def _geometry(found: Geometry) -> dict[str, Any]:
    return {
        **plain_record(found, without=("concepts", "coordinates", "norms")),
        "coordinates": plain(found.coordinates[:, :2]),
        "norms": plain(tuple(found.norms.items())),
    }


def _text(found: ReadText) -> dict[str, Any]:
    z = found.z
    if found.combined is not None:
        z = torch.cat([rearrange(found.combined, "token concept -> token 1 concept"), z], dim=1)
    return plain_record(found, without=("z", "combined")) | {"z": packed(z, Z_STEP)}
