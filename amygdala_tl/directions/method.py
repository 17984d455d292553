"""Method of fitting: denoisers around an estimator, asked for by name, applied to labelled activations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.denoise.chain import DENOISERS, DenoiseStep, denoise, denoise_vectors, parse_steps
from amygdala_tl.directions.denoise.removal import Removal, nothing
from amygdala_tl.directions.difference_of_means import mean, mean_streamed
from amygdala_tl.directions.estimators import Estimator, check_classes, unit_directions
from amygdala_tl.directions.linear_regression import linear
from amygdala_tl.directions.logistic_regression import logistic
from amygdala_tl.directions.pair_pca import pca
from amygdala_tl.directions.partial_whitening import POWERS, half_whitened, partly_whitened_streamed, quarter_whitened
from amygdala_tl.directions.sparse_logistic import logistic_l1
from amygdala_tl.directions.statistics import Parts, Statistics
from amygdala_tl.directions.token_subspaces import subspace
from amygdala_tl.directions.whitening import joint, joint_streamed, whitened, whitened_streamed
from amygdala_tl.errors import InputError
from amygdala_tl.records import ReadPosition
from amygdala_tl.settings import AUTO, Labels

ESTIMATORS: dict[str, Estimator] = {
    "mean": mean,
    "pca": pca,
    "linear": linear,
    "logistic": logistic,
    "logistic_l1": logistic_l1,
    "whitened": whitened,
    "joint": joint,
    "half_whitened": half_whitened,
    "quarter_whitened": quarter_whitened,
    "subspace": subspace,
}
"""Estimators by name."""

STREAMED: Mapping[str, Callable[[Parts, Tensor], tuple[Estimate, Statistics]]] = {
    "mean": mean_streamed,
    "whitened": whitened_streamed,
    "joint": joint_streamed,
    **{name: partial(partly_whitened_streamed, power) for name, power in POWERS.items()},
}
"""Estimators that need only the moments of a corpus: texts in parts, group of every text -> estimate, and those moments."""

STRENGTH_OPTIONS = {"linear": "strength", "logistic": "strength", "whitened": "shrinkage", "joint": "shrinkage"}
"""Option of an estimator that is one number for all concepts of a layer; cross-validation chooses it if it is not given."""

GRADED_ESTIMATORS = ("linear", "whitened")


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
        """Whether the method needs only the moments of a corpus, so that texts can come in parts."""
        return self.aggregator in STREAMED and not any(step.name in DENOISERS for step in self.steps)

    def __str__(self) -> str:
        return " + ".join([self.aggregator, *map(str, self.steps)])


@dataclass(frozen=True, slots=True)
class Fitted:
    """Directions and the choices made while fitting them.

    Attributes:
        directions: [concept, layer, d_model] unit rows.
        estimator: the aggregator with its parameters, JSON-ready.
        denoisers: each with its parameters, JSON-ready.
        statistics: of the texts, if the method gathered them as they are; with second moments only if it needs them.
    """

    directions: Float[Tensor, "concept layer d_model"]
    estimator: dict[str, Any]
    denoisers: tuple[dict[str, Any], ...]
    statistics: Statistics | None = None


def parse_method(aggregator: str, denoise_spec: str) -> Method:
    """Read a method from the name of an aggregator and a comma-separated list of denoisers.

    Raises:
        InputError: an unknown aggregator or denoiser.
    """
    if aggregator not in ESTIMATORS:
        known = ", ".join([AUTO, *ESTIMATORS])
        raise InputError("no such aggregator", got=aggregator, need=known, remedy="change aggregator")
    return Method(aggregator, parse_steps(denoise_spec))


def requested_methods(
    aggregator: str, denoise: str, labels: Labels, read_position: ReadPosition
) -> tuple[Method, ...] | None:
    """Return the methods that a caller names, checked before anything is computed; None for `auto`.

    Raises:
        InputError: no such aggregator or denoiser, or a combination that makes no sense.
    """
    if aggregator == AUTO and denoise:
        raise InputError("auto chooses the denoisers", got=f"denoise {denoise}", remedy="name an aggregator beside it")
    names = [name.strip() for name in aggregator.split(",")]
    methods = None if aggregator == AUTO else tuple(dict.fromkeys(parse_method(name, denoise) for name in names))
    if "subspace" in names and read_position != "pooled":
        what, got = "the subspace estimator needs all tokens of a text", f"read_position {read_position}"
        raise InputError(what, got=got, remedy="use read_position `pooled`")
    if "subspace" in names and len(names) > 1:
        raise InputError("the subspace estimator is not compared", got=aggregator, remedy="name it alone")
    if labels == "graded" and (others := [name for name in names if name not in GRADED_ESTIMATORS]):
        what, need = "the aggregator takes no graded labels", " or ".join(GRADED_ESTIMATORS)
        raise InputError(what, got=", ".join(others), need=need, remedy="change the aggregator")
    return methods


def read_method(text: str) -> Method:
    """Read the `str(method)` that a readout keeps in its provenance; raises as `parse_method`."""
    aggregator, *steps = text.split(" + ")
    return parse_method(aggregator, ",".join(steps))


def apply_method(
    method: Method,
    data: LabelledActivations,
    neutral: Float[Tensor, "neutral layer d_model"],
    concepts: Sequence[str] | None = None,
    **options: Any,
) -> Fitted:
    """Denoise, estimate, denoise the vectors, and scale them to unit length.

    Args:
        method: estimator and denoisers.
        data: activations and labels; every concept needs a text in both classes.
        neutral: neutral texts, for denoisers that need them.
        concepts: names, for errors; numbers if None.
        options: the estimator's.

    Raises:
        FitError: a class is empty, a denoiser cannot be fitted, or a vector is zero or not finite.
    """
    concepts = [str(place) for place in range(data.positive.shape[1])] if concepts is None else concepts
    check_classes(data.positive, data.negative, concepts)
    denoised, removal, parameters = denoise(data, neutral, method.steps)
    estimate = ESTIMATORS[method.aggregator](denoised, **options)
    return finish(method, estimate, removal, parameters, concepts)


def apply_streamed(method: Method, parts: Parts, groups: Int[Tensor, " text"], concepts: Sequence[str]) -> Fitted:
    """Apply a `streamable` method to texts in parts, so that memory does not grow with the corpus.

    Args:
        method: a streamable method.
        parts: the texts that the estimator sees, one pass for each call.
        groups: of all these texts.
        concepts: names; each must have a text in both classes.

    Raises:
        FitError: as in `apply_method`.
    """
    estimate, statistics = STREAMED[method.aggregator](parts, groups)
    return replace(finish(method, estimate, nothing(estimate.vectors), [], concepts), statistics=statistics)


def finish(
    method: Method, estimate: Estimate, removal: Removal, parameters: list[dict[str, Any]], concepts: Sequence[str]
) -> Fitted:
    """Denoise an estimate's vectors, and scale them to unit length; raises as `apply_method`."""
    vectors = denoise_vectors(estimate.vectors, removal, method.steps)
    of_vectors = [{"name": step.name} for step in method.steps if step.name not in DENOISERS]
    return Fitted(
        directions=unit_directions(vectors, concepts),
        estimator={"aggregator": method.aggregator, **estimate.parameters},
        denoisers=(*parameters, *of_vectors),
    )
