"""How directions are made of labelled activations: denoisers, an estimator, and the choice of both by cross-validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.directions import ESTIMATORS, STREAMED, Estimate, LabelledActivations, check_classes, unit_directions
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.denoise import DENOISERS, DenoiseStep, denoise, denoise_vectors, parse_steps
from amygdala_tl.directions.denoise.removal import Removal, nothing
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.statistics import Parts
from amygdala_tl.errors import FitError, InputError

AUTO = "auto"

N_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Method:
    """An estimator and the denoisers around it.

    Attributes:
        aggregator: a name in `ESTIMATORS`.
        steps: denoisers, in the order of their application.
    """

    aggregator: str
    steps: tuple[DenoiseStep, ...] = ()

    @property
    def streamable(self) -> bool:
        """Whether the corpus's moments are all it needs, so that its texts can come in parts."""
        return self.aggregator in STREAMED and not any(step.name in DENOISERS for step in self.steps)

    def __str__(self) -> str:
        return " + ".join([self.aggregator, *map(str, self.steps)])


CANDIDATES = (
    Method("mean"),
    Method("mean", parse_steps("neutral-pca")),
    Method("whitened"),
    Method("linear"),
    Method("logistic"),
)
"""What `auto` compares."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Directions and what was chosen on the way to them.

    Attributes:
        directions: [concept, layer, d_model] unit rows.
        estimator: the aggregator with its parameters, JSON-ready.
        denoisers: each with its parameters, JSON-ready.
    """

    directions: Float[Tensor, "concept layer d_model"]
    estimator: dict[str, Any]
    denoisers: tuple[dict[str, Any], ...]


def parse_method(aggregator: str, denoise_spec: str) -> Method:
    """The method that the command line names.

    Raises:
        InputError: no such aggregator or denoiser.
    """
    if aggregator not in ESTIMATORS:
        raise InputError(
            "no such aggregator", got=aggregator, need=", ".join([AUTO, *ESTIMATORS]), remedy="change --aggregator"
        )
    return Method(aggregator, parse_steps(denoise_spec))


def read_method(text: str) -> Method:
    """The inverse of `str(method)`, which a fit keeps as `estimator["method"]`.

    Raises:
        InputError: no such aggregator or denoiser.
    """
    aggregator, *steps = text.split(" + ")
    return parse_method(aggregator, ",".join(steps))


def apply_method(
    method: Method,
    data: LabelledActivations,
    neutral: Float[Tensor, "neutral layer d_model"],
    concepts: Sequence[str],
) -> Fitted:
    """Denoise, estimate, denoise the vectors, and bring them to unit length.

    Raises:
        FitError: a class is empty, a denoiser cannot be fitted, or a vector is zero or not finite.
    """
    check_classes(data.positive, data.negative, concepts)
    denoised, removal, parameters = denoise(data, neutral, method.steps)
    estimate = ESTIMATORS[method.aggregator](denoised)
    return _finish(method, estimate, removal, parameters, concepts)


def apply_streamed(method: Method, parts: Parts, groups: Int[Tensor, " text"], concepts: Sequence[str]) -> Fitted:
    """The same for a `streamable` method, from texts in parts, so that memory does not grow with the corpus.

    Args:
        method: what to do.
        parts: the texts that the estimator sees, a pass each time it is called.
        groups: of all these texts.
        concepts: names.

    Raises:
        FitError: as `apply_method`; but classes must have been checked.
    """
    estimate = STREAMED[method.aggregator](parts, groups)
    _, n_layers, _ = estimate.vectors.shape
    return _finish(method, estimate, nothing(n_layers, estimate.vectors), [], concepts)


def _finish(
    method: Method, estimate: Estimate, removal: Removal, parameters: list[dict[str, Any]], concepts: Sequence[str]
) -> Fitted:
    vectors = denoise_vectors(estimate.vectors, removal, method.steps)
    of_vectors = [{"name": step.name} for step in method.steps if step.name not in DENOISERS]
    return Fitted(
        directions=unit_directions(vectors, concepts),
        estimator={"aggregator": method.aggregator, **estimate.parameters},
        denoisers=(*parameters, *of_vectors),
    )


def choose_method(
    data: LabelledActivations,
    neutral: Float[Tensor, "neutral layer d_model"],
    candidates: Sequence[Method] = CANDIDATES,
) -> tuple[Method, list[dict[str, Any]]]:
    """The candidate with the best AUROC on held-out groups, averaged over folds, concepts and layers, and the table of all.

    Args:
        data: training texts only.
        neutral: neutral training texts, for denoisers that need them; a candidate that cannot be fitted stands in the table
            with the reason.
        candidates: at least one that can be fitted.

    Raises:
        FitError: no candidate can be fitted.
    """
    fold = group_folds(data.groups, max(2, min(N_FOLDS, len(torch.unique(data.groups)))))
    table: list[dict[str, Any]] = []
    best, best_score = None, -1.0
    for method in candidates:
        try:
            by_layer = held_out_auroc(method, data, neutral, fold)
        except FitError as reason:
            table.append({"method": str(method), "failed": str(reason)})
            continue
        score = float(by_layer.mean())
        layers = [round(value, 4) for value in by_layer.tolist()]
        table.append({"method": str(method), "auroc": round(score, 4), "auroc_by_layer": layers})
        if score > best_score:
            best, best_score = method, score
    if best is None:
        raise FitError("no method could be fitted", got=table[0]["failed"], remedy="name one with --aggregator")
    return best, table


def held_out_auroc(
    method: Method, data: LabelledActivations, neutral: Float[Tensor, "neutral layer d_model"], fold: Tensor
) -> Float[Tensor, " layer"]:
    """Mean over folds and concepts of the AUROC on the texts of a fold, with directions of the other folds."""
    results = []
    for held_out in range(int(fold.max()) + 1):
        kept, left = data.take(fold != held_out), data.take(fold == held_out)
        usable = kept.positive.any(dim=0) & kept.negative.any(dim=0)
        kept = kept.of_concepts(usable)
        names = [str(index) for index in usable.nonzero()[:, 0].tolist()]
        directions = apply_method(method, kept, neutral, names).directions
        scores = einsum(
            left.activations.float(), directions, "text layer d_model, concept layer d_model -> layer text concept"
        )
        plus, minus = left.positive[:, usable], left.negative[:, usable]
        results.append(torch.stack([auroc(layer, plus, minus).nanmean() for layer in scores]))
    mean: Tensor = torch.stack(results).nanmean(dim=0)
    if mean.isnan().any():
        raise FitError("no fold holds both classes of any concept", remedy="label more texts, or name an --aggregator")
    return mean
