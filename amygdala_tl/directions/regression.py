"""Shared parts of `linear`, `logistic` and `logistic_l1`: paired and unpaired concepts, their rows, ridge fits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from amygdala_tl.directions.conjugate_gradients import minimise_quadratic
from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.design import Design, rotate, standardise
from amygdala_tl.directions.folds import Folds
from amygdala_tl.directions.lbfgs import minimise
from amygdala_tl.directions.problems import SQUARED, Loss, Task
from amygdala_tl.directions.strength import Strength, choose_strength, of_layers
from amygdala_tl.errors import FitError

PER_TEXT = (0.0625, 0.25, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0)
"""Candidates for the strength C of a ridge penalty, times the number of texts: twice the corpus means half the C.

On standardised features a logistic loss with balanced classes has a curvature of about n / 4 along a direction of unit variance.
At 4, penalty and data therefore weigh the same there, which suits real texts (GoEmotions, SmolLM2). The weak end is for
directions with a ten-thousandth of that variance: a huge direction shared by all features leaves the others about that much."""

DEFAULT_PER_TEXT = 3
"""Index of the candidate for texts that cannot be cut into folds: 4."""

ROWS_AT_ONCE = 2**26
"""Bound on the numbers in the rows of pairs that are fitted together: 256 MB of float32."""

ROUGH = 1e-4
"""Tolerance of the fits that only choose a strength: AUROC settles long before."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """Paired and unpaired concepts.

    Attributes:
        pairs: concept -> rows (positive, negative) of its pairs, for a concept with one pair in each of its groups.
        unpaired: all other concepts.
        texts: [text], True for texts with a label of an unpaired concept.
    """

    pairs: dict[int, Int[Tensor, "pair 2"]]
    unpaired: list[int]
    texts: Bool[Tensor, " text"]


def kinds_of(data: LabelledActivations, grades: Float[Tensor, "text concept"] | None = None) -> Kinds:
    """Find the concepts that come in pairs. With grades none does, and a known grade is a label."""
    everyone, labelled = range(data.positive.shape[1]), data.positive | data.negative
    if grades is not None:
        return Kinds({}, list(everyone), (labelled | ~grades.isnan()).any(dim=1))
    pairs = {concept: found for concept in everyone if (found := data.pairs(concept)) is not None}
    unpaired = [concept for concept in everyone if concept not in pairs]
    return Kinds(pairs, unpaired, labelled[:, unpaired].any(dim=1))


def class_task(data: LabelledActivations, kinds: Kinds, loss: Loss, design: Design) -> Task:
    """Set up the regressions of the unpaired concepts on +1 for positives and -1, from rows of the labelled texts."""
    positive, negative = (labels[kinds.texts][:, kinds.unpaired] for labels in (data.positive, data.negative))
    targets = torch.where(positive, 1.0, -1.0).to(design.rows.dtype)
    return Task(design, loss, targets, positive, negative, data.groups[kinds.texts])


@dataclass(frozen=True, slots=True)
class Halves:
    """Half differences of pairs: a pair centred on its midpoint is +half and -half.

    Attributes:
        concepts: their numbers.
        rows: [concept, pair, d_model], (positive - negative) / 2; zero past a concept's last pair.
        present: [concept, pair], False past a concept's last pair.
    """

    concepts: list[int]
    rows: Float[Tensor, "concept pair d_model"]
    present: Bool[Tensor, "concept pair"]


def halves_of(values: Float[Tensor, "text d_model"], pairs: dict[int, Int[Tensor, "pair 2"]]) -> Iterator[Halves]:
    """Yield the half differences of all paired concepts, a bounded number of concepts at a time."""
    concepts = sorted(pairs, key=lambda concept: len(pairs[concept]))
    while concepts:
        count = 1
        while count < len(concepts) and (count + 1) * len(pairs[concepts[count]]) * values.shape[1] <= ROWS_AT_ONCE:
            count += 1
        some, concepts = concepts[:count], concepts[count:]
        halves = [(values[pairs[concept][:, 0]] - values[pairs[concept][:, 1]]) / 2.0 for concept in some]
        present = [torch.ones(len(half), dtype=torch.bool, device=values.device) for half in halves]
        yield Halves(some, pad_sequence(halves, batch_first=True), pad_sequence(present, batch_first=True))


def layers_of(data: LabelledActivations) -> Iterator[Float[Tensor, "text d_model"]]:
    """Yield the activations of one layer at a time, in float32 or wider; a `FitError` says which are not finite."""
    for layer in range(data.activations.shape[1]):
        values = data.activations[:, layer]
        values = values if values.dtype == torch.float64 else values.float()
        if not (fine := torch.isfinite(values).all(dim=1)).all():
            got = f"text {int(fine.int().argmin())}, layer number {layer}"
            remedy = "capture again in float32 or bfloat16: float16 overflows on massive activations"
            raise FitError("the activations are not finite", got=got, remedy=remedy)
        yield values


@dataclass(frozen=True, slots=True)
class LayerFit:
    """Fit of the unpaired concepts at one layer.

    Attributes:
        vectors: for raw activations.
        strength: C, one for all or one each.
        choice: number of the chosen strength, and the AUROC of those tried; None for a given strength.
        unconverged: how many did not converge.
    """

    vectors: Float[Tensor, "concept d_model"]
    strength: float | Float[Tensor, " concept"]
    choice: tuple[int, list[float]] | None
    unconverged: int


def fit_layers(
    data: LabelledActivations,
    kinds: Kinds,
    fit: Callable[[int, Float[Tensor, "text d_model"]], LayerFit],
    fit_pairs: Callable[[Halves], tuple[Float[Tensor, "concept d_model"], int]],
) -> tuple[Float[Tensor, "concept layer d_model"], list[LayerFit], dict[str, object]]:
    """Fit all concepts, layer by layer.

    Args:
        data, kinds: labelled activations, and their paired and unpaired concepts.
        fit: takes the place of a layer and its labelled texts, and fits the unpaired concepts.
        fit_pairs: fits paired concepts; returns their vectors and how many did not converge.

    Returns:
        Vectors, a fit of the unpaired concepts for each layer (if there are any), and a parameter that counts the regressions
        that did not converge (if there are any).
    """
    vectors: list[Tensor] = []
    fits: list[LayerFit] = []
    unconverged = 0
    for layer, values in enumerate(layers_of(data)):
        vector = values.new_zeros(data.positive.shape[1], values.shape[1])
        if kinds.unpaired:
            fits.append(fit(layer, values[kinds.texts]))
            vector[kinds.unpaired] = fits[-1].vectors
            unconverged += fits[-1].unconverged
        for halves in halves_of(values, kinds.pairs):
            vector[halves.concepts], failed = fit_pairs(halves)
            unconverged += failed
        vectors.append(vector)
    return torch.stack(vectors, dim=1), fits, {"not_converged": unconverged} if unconverged else {}


def fit_ridge(
    data: LabelledActivations,
    kinds: Kinds,
    task: Callable[[Design], Task],
    fit_pairs: Callable[[Halves], tuple[Float[Tensor, "concept d_model"], int]],
    strength: Strength,
    *,
    paired_strength: float | None,
    folds: Folds = None,
) -> Estimate:
    """Fit the ridge regressions of all concepts, layer by layer.

    Args:
        data, kinds, fit_pairs: as in `fit_layers`.
        task: makes the regressions of the unpaired concepts from their rows.
        strength: C of the unpaired concepts, or one for each layer; chosen at every layer if None.
        paired_strength: recorded as a parameter if there are paired concepts.
        folds: of all texts, to choose the strength on in place of folds of groups.
    """
    strengths = of_layers(strength, data.n_layers) if kinds.unpaired else []

    def fit(layer: int, values: Float[Tensor, "text d_model"]) -> LayerFit:
        return _fit_layer(task, strengths[layer], None if folds is None else folds[kinds.texts], values)

    vectors, fits, unconverged = fit_layers(data, kinds, fit, fit_pairs)
    tried = [fit.choice[1] if fit.choice else [] for fit in fits]
    parameters: dict[str, object] = {"strength": [fit.strength for fit in fits]}
    if any(tried):
        parameters |= {"tried_strength_times_texts": PER_TEXT, "tried_auroc": tried}
    parameters |= unconverged
    if kinds.pairs:
        parameters["paired_strength"] = paired_strength  # None: no penalty
    return Estimate(vectors, parameters)


def _fit_layer(
    task: Callable[[Design], Task], strength: float | None, folds: Folds, values: Float[Tensor, "text d_model"]
) -> LayerFit:
    """Fit all unpaired concepts on one layer's standardised activations, with an unpenalised intercept."""
    rows, scale = standardise(values)
    rotated, axes = rotate(Design(rows))
    regressions = task(rotated.with_ones())
    regressions = regressions if folds is None else replace(regressions, groups=folds)
    solver = minimise_quadratic if regressions.loss is SQUARED else minimise
    choice = None
    if strength is None:
        candidates = repeat(values.new_tensor(PER_TEXT), "s -> s concept", concept=regressions.targets.shape[1])
        solve = partial(solver, tolerance=ROUGH)
        choice = choose_strength(regressions, solve, candidates / len(values), default=DEFAULT_PER_TEXT)
        strength = PER_TEXT[choice[0]] / len(values)
    everything = torch.ones_like(regressions.groups, dtype=torch.bool)
    solution, unconverged = solver(regressions.problems(strength * regressions.weights(everything)))
    return LayerFit(axes.pull(solution[:, :-1]) / scale, strength, choice, unconverged)
