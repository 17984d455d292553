"""Shared parts of `linear`, `logistic` and `logistic_l1`: paired and unpaired concepts, their rows, ridge fits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.design import Design, at_least_float32, rotate, standardise
from amygdala_tl.directions.lbfgs import minimise
from amygdala_tl.directions.pairs import pairs_of
from amygdala_tl.directions.problems import Problems, Task
from amygdala_tl.directions.strength import choose_strength
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


def kinds_of(data: LabelledActivations) -> Kinds:
    """Find the concepts that come in pairs."""
    pairs = {
        concept: found
        for concept in range(data.positive.shape[1])
        if (found := pairs_of(data.positive[:, concept], data.negative[:, concept], data.groups)) is not None
    }
    unpaired = [concept for concept in range(data.positive.shape[1]) if concept not in pairs]
    return Kinds(pairs, unpaired, (data.positive | data.negative)[:, unpaired].any(dim=1))


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
        yield Halves(
            some,
            torch.nn.utils.rnn.pad_sequence(halves, batch_first=True),
            torch.nn.utils.rnn.pad_sequence(present, batch_first=True),
        )


def layers_of(data: LabelledActivations) -> Iterator[Float[Tensor, "text d_model"]]:
    """Yield the activations of one layer at a time, in float32 or wider.

    Raises:
        FitError: an activation is not finite.
    """
    for layer in range(data.activations.shape[1]):
        values = at_least_float32(data.activations[:, layer])
        if not torch.isfinite(values).all():
            raise FitError(
                "the activations are not finite",
                got=f"text {int(torch.isfinite(values).all(dim=1).logical_not().nonzero()[0])}, layer number {layer}",
                remedy="capture again in float32 or bfloat16: float16 overflows on massive activations",
            )
        yield values


def fit_ridge(
    data: LabelledActivations,
    kinds: Kinds,
    task: Callable[[Design], Task],
    solve_pairs: Callable[[Halves], tuple[Float[Tensor, "concept d_model"], int]],
    strength: float | None,
    *,
    paired_strength: float | None,
) -> Estimate:
    """Fit the ridge regressions of all concepts, layer by layer.

    Args:
        data: activations and labels.
        kinds: its paired and unpaired concepts.
        task: makes the regressions of the unpaired concepts from their rows.
        solve_pairs: fits paired concepts; returns their vectors and how many did not converge.
        strength: C of the unpaired concepts; chosen at every layer if None.
        paired_strength: recorded as a parameter if there are paired concepts.
    """
    vectors: list[Tensor] = []
    strengths: list[float] = []
    aurocs: list[Sequence[float]] = []
    unconverged = 0
    for values in layers_of(data):
        vector = values.new_zeros(data.positive.shape[1], values.shape[1])
        if kinds.unpaired:
            vector[kinds.unpaired], chosen, auroc, failed = _fit_layer(values[kinds.texts], task, strength)
            strengths.append(chosen)
            aurocs.append(auroc)
            unconverged += failed
        for halves in halves_of(values, kinds.pairs):
            vector[halves.concepts], failed = solve_pairs(halves)
            unconverged += failed
        vectors.append(vector)
    parameters: dict[str, object] = {"strength": strengths}
    if any(aurocs):
        parameters["tried_strength_times_texts"], parameters["tried_auroc"] = PER_TEXT, [list(each) for each in aurocs]
    if unconverged:
        parameters["not_converged"] = unconverged
    if kinds.pairs:
        parameters["paired_strength"] = paired_strength  # None: no penalty
    return Estimate(torch.stack(vectors, dim=1), parameters)


def _fit_layer(
    values: Float[Tensor, "text d_model"], task: Callable[[Design], Task], strength: float | None
) -> tuple[Float[Tensor, "concept d_model"], float, Sequence[float], int]:
    """Fit all unpaired concepts on one layer's standardised activations, with an unpenalised intercept.

    Returns:
        The vectors for raw activations, the strength, the AUROC of the strengths tried, and how many did not converge.
    """
    rows, scale = standardise(values)
    rotated = rotate(Design(rows))
    regressions = task(rotated.design.with_ones())
    auroc: Sequence[float] = []
    if strength is None:
        candidates = repeat(values.new_tensor(PER_TEXT), "s -> s concept", concept=regressions.targets.shape[1])
        choice = choose_strength(regressions, _roughly, candidates / len(values), default=DEFAULT_PER_TEXT)
        strength, auroc = PER_TEXT[choice.index] / len(values), choice.auroc
    everything = torch.ones_like(regressions.groups, dtype=torch.bool)
    solution, unconverged = minimise(regressions.problems(strength * regressions.weights(everything)))
    return rotated.back(solution[:, :-1]) / scale, strength, auroc, unconverged


def _roughly(problems: Problems, start: Float[Tensor, "problem feature"] | None) -> Float[Tensor, "problem feature"]:
    return minimise(problems, start, tolerance=ROUGH)[0]
