"""Controls that the readout's own method gives: directions of two halves of the texts, and of shuffled labels.

The halves make the check of reading honest: a direction fitted on one half of the groups is read by a readout of a later layer
that was fitted on the other half.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.diagnostics.nulls import permuted_texts
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.method import Method, apply_method
from amygdala_tl.readout.record import Readout
from amygdala_tl.steering.arms import LayerMaterial, Readers
from amygdala_tl.steering.records import SteeringPlan


@dataclass(frozen=True, slots=True)
class TrainingTexts:
    """What a readout was fitted on.

    Attributes:
        methods: of the readout's reading vectors, and of the vectors that it steers with; None for a readout that does not say,
            which has no controls of its method.
        data: labelled training texts, with the labels of all the readout's concepts.
        neutral: activations of the neutral training texts.
        layers: of both, ascending.
        ids: of the labelled texts.
    """

    methods: tuple[Method, Method] | None
    data: LabelledActivations
    neutral: Float[Tensor, "text layer d_model"]
    layers: tuple[int, ...]
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Controls:
    """Directions of the same method on other labels or fewer texts.

    Attributes:
        layers: order of the layer axes.
        halves: [half, concept, layer, d_model] that steer, fitted on one half of the groups each.
        readers: [half, concept, layer, d_model] that read, fitted on the same halves.
        deviation: [half, concept, layer] standard deviation of all texts' scores by `readers`.
        shuffled: [direction, layer, d_model] that would steer, fitted on labels shuffled over groups.
    """

    layers: tuple[int, ...]
    halves: Float[Tensor, "half concept layer d_model"]
    readers: Float[Tensor, "half concept layer d_model"]
    deviation: Float[Tensor, "half concept layer"]
    shuffled: Float[Tensor, "direction layer d_model"]


def fit_controls(texts: TrainingTexts, methods: tuple[Method, Method], shuffled: int, seed: int) -> Controls:
    """Fit the controls.

    Args:
        texts: what the readout was fitted on.
        methods: what reads, and what steers.
        shuffled: at least this many directions of shuffled labels; every shuffle gives all concepts.
        seed: of halves and shuffles.

    Raises:
        FitError: a half or a shuffle cannot be fitted.
    """
    data = texts.data
    half = group_folds(data.groups, 2, seed)
    reads, steers = methods
    of_halves = [data.take(half == number) for number in (0, 1)]
    readers = torch.stack([_fit(reads, some, texts.neutral) for some in of_halves])
    halves = readers
    if steers != reads:
        halves = torch.stack([_fit(steers, some, texts.neutral) for some in of_halves])
    scores = einsum(
        data.activations.float(), readers,
        "text layer d_model, half concept layer d_model -> half concept layer text",
    )  # fmt: skip
    times = math.ceil(shuffled / data.positive.shape[1])
    sources = permuted_texts(data.groups, torch.Generator().manual_seed(seed), times).long()
    return Controls(
        layers=texts.layers,
        halves=halves,
        readers=readers,
        deviation=scores.std(dim=-1),
        shuffled=torch.cat([_fit(steers, _with_labels_of(data, source), texts.neutral) for source in sources]),
    )


def directions_of(readout: Readout, plan: SteeringPlan, texts: TrainingTexts | None = None) -> list[LayerMaterial]:
    """The directions of every layer of a plan. Readers are the controls of the next layer that the texts have.

    Args:
        readout: what is checked.
        plan: concepts, layers, and how many controls.
        texts: what the readout was fitted on; without them there are no controls but random directions.

    Raises:
        FitError: a control cannot be fitted.
    """
    columns = [readout.concepts.index(name) for name in plan.concepts]
    controls = None
    if texts is not None and texts.methods is not None:
        controls = fit_controls(texts, texts.methods, 2 * plan.random, plan.seed)
    return [_of_layer(layer, readout.writing[readout.column(layer)], columns, controls) for layer in plan.layers]


def _of_layer(
    layer: int, every: Float[Tensor, "every d_model"], columns: Sequence[int], controls: Controls | None
) -> LayerMaterial:
    own = every[list(columns)]
    if controls is None:
        return LayerMaterial(layer, own, every=every)
    here = controls.layers.index(layer)
    readers = None
    if (above := here + 1) < len(controls.layers):
        vectors, deviation = controls.readers[:, columns, above], controls.deviation[:, columns, above]
        readers = Readers(controls.layers[above], vectors, deviation)
    return LayerMaterial(layer, own, controls.halves[:, columns, here], controls.shuffled[:, here], readers, every)


def _with_labels_of(data: LabelledActivations, source: Tensor) -> LabelledActivations:
    """The activations with the labels of other texts."""
    grades = None if data.grades is None else data.grades[source]
    return replace(data, positive=data.positive[source], negative=data.negative[source], grades=grades)


def _fit(
    method: Method, data: LabelledActivations, neutral: Float[Tensor, "text layer d_model"]
) -> Float[Tensor, "concept layer d_model"]:
    """Unit directions; NaN for a concept without texts of both classes."""
    usable = data.positive.any(dim=0) & data.negative.any(dim=0)
    names = [str(place) for place in usable.nonzero()[:, 0].tolist()]
    layers, width = data.activations.shape[1:]
    result = torch.full((len(usable), layers, width), torch.nan)
    result[usable] = apply_method(method, data.of_concepts(usable), neutral, names).directions
    return result
