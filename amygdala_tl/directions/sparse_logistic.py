"""Logistic regression with an L1 penalty: a direction that uses few coordinates.

Source: scikit-learn's `LogisticRegression(l1_ratio=1)`, which has the same objective; on pairs, steering-vectors 0.12.2's
`logistic_aggregator` with that penalty. A penalty that is too strong leaves a zero vector, which `unit_directions` refuses by
name.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.design import Design, standardise
from amygdala_tl.directions.estimator import estimator
from amygdala_tl.directions.fista import minimise_sparse
from amygdala_tl.directions.logistic_regression import PAIRED_STRENGTH, logistic_task, paired_problems
from amygdala_tl.directions.problems import Problems
from amygdala_tl.directions.regression import halves_of, kinds_of, layers_of
from amygdala_tl.directions.strength import choose_strength

MULTIPLES = (1.5, 3.0, 6.0, 12.0, 25.0, 50.0, 100.0, 200.0)
"""Candidates for the strength, times the strength at which a concept's first coordinate becomes non-zero. Above 1 some coordinate
always is non-zero, so that no choice leaves a concept without a vector."""

DEFAULT_MULTIPLE = 2
"""Index of the candidate for texts that cannot be cut into folds."""

ROUGH = 0.02
"""Tolerance of the fits that only choose a strength."""

DENSEST, DENSE_ANYWAY = 1 / 3, 48.0
"""Penalties that leave more than a third of the coordinates (and more than 48) are not weakened further: such a vector is not
sparse, and `logistic` fits it better."""


@estimator
def logistic_l1(data: LabelledActivations, *, strength: float | None = None) -> Estimate:
    """Minimise C sum_i s_i log(1 + exp(-y_i (w.h_i + b))) + sum_j |w_j| for every concept at every layer.

    `logistic_l1(positive, negative)` takes two tensors and returns unit directions [layer, d_model]; see `estimator`.
    Features h_i, class weights s_i, the intercept b and paired concepts are as in `logistic`.

    Args:
        data: activations and labels.
        strength: C; larger means a weaker penalty. If None, it is 1 for paired concepts. For unpaired ones it is a multiple of
            the C at which the concept's vector becomes non-zero. A layer's concepts share the multiple with the best mean
            held-out AUROC over groups (see `choose_strength`).

    Returns:
        Vectors, with the share of non-zero coordinates as the parameter `sparsity`, [layer][concept] like `strength`.

    Raises:
        FitError: an activation is not finite.
    """
    kinds = kinds_of(data)
    paired_strength = PAIRED_STRENGTH if strength is None else strength
    vectors, strengths, multiples, aurocs, unconverged = [], [], [], [], 0
    for values in layers_of(data):
        vector = values.new_zeros(data.positive.shape[1], values.shape[1])
        used = values.new_full((len(vector),), paired_strength)
        if kinds.unpaired:
            rows, scale = standardise(values[kinds.texts])
            task = logistic_task(data, kinds, Design(rows).with_ones())
            everything = task.weights(torch.ones_like(task.groups, dtype=torch.bool))
            if strength is None:
                first = first_strength(task.problems(everything))
                choice = choose_strength(
                    task,
                    _roughly,
                    torch.stack([multiple * first for multiple in MULTIPLES]),
                    default=DEFAULT_MULTIPLE,
                    widest=max(DENSE_ANYWAY, DENSEST * rows.shape[1]),
                )
                used[kinds.unpaired] = MULTIPLES[choice.index] * first
                multiples.append(MULTIPLES[choice.index])
                aurocs.append(list(choice.auroc))
            each = rearrange(used[kinds.unpaired], "concept -> concept 1")
            solution, failed = minimise_sparse(task.problems(each * everything))
            vector[kinds.unpaired] = solution[:, :-1] / scale
            unconverged += failed
        for halves in halves_of(values, kinds.pairs):
            vector[halves.concepts], failed = minimise_sparse(
                paired_problems(Design(halves.rows), halves, paired_strength)
            )
            unconverged += failed
        vectors.append(vector)
        strengths.append(used.tolist())
    stacked = torch.stack(vectors, dim=1)
    parameters: dict[str, object] = {
        "strength": strengths,
        "sparsity": [(stacked[:, layer] != 0).float().mean(dim=-1).tolist() for layer in range(stacked.shape[1])],
    }
    if multiples:
        parameters["multiple_of_first_strength"] = multiples
        parameters["tried_multiples"], parameters["tried_auroc"] = MULTIPLES, aurocs
    if unconverged:
        parameters["not_converged"] = unconverged
    return Estimate(stacked, parameters)


def first_strength(problems: Problems) -> Float[Tensor, " concept"]:
    """Compute the strength C at which a concept's first coordinate becomes non-zero; 0 if none ever does.

    With balanced classes and zero weights the best intercept is 0.
    """
    _, slopes = problems.loss_and_slopes(torch.zeros_like(problems.targets))
    largest = problems.design.pull(slopes)[:, :-1].abs().amax(dim=-1)
    return torch.where(largest > 0, 1.0 / largest, 0.0)


def _roughly(problems: Problems, start: Float[Tensor, "problem feature"] | None) -> Float[Tensor, "problem feature"]:
    return minimise_sparse(problems, start, tolerance=ROUGH)[0]
