"""Logistic regression with an L1 penalty: a direction that uses few coordinates.

Source: scikit-learn's `LogisticRegression(l1_ratio=1)`, which has the same objective; on pairs, steering-vectors 0.12.2's
`logistic_aggregator` with that penalty. A penalty that is too strong leaves a zero vector, which `unit_directions` refuses by
name.
"""

from functools import partial

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.design import Design, standardise
from amygdala_tl.directions.estimators import estimator
from amygdala_tl.directions.fista import minimise_sparse
from amygdala_tl.directions.logistic_regression import PAIRED_STRENGTH, paired_problems
from amygdala_tl.directions.problems import LOGISTIC, Problems
from amygdala_tl.directions.regression import Halves, LayerFit, class_task, fit_layers, kinds_of
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

    def fit(_: int, values: Float[Tensor, "text d_model"]) -> LayerFit:
        rows, scale = standardise(values)
        task = class_task(data, kinds, LOGISTIC, Design(rows).with_ones())
        everything = task.weights(torch.ones_like(task.groups, dtype=torch.bool))
        used, choice = values.new_full((len(everything),), paired_strength), None
        if strength is None:
            first = first_strength(task.problems(everything))
            candidates, widest = (
                values.new_tensor(MULTIPLES)[:, None] * first,
                max(DENSE_ANYWAY, DENSEST * rows.shape[1]),
            )
            solve = partial(minimise_sparse, tolerance=ROUGH)
            choice = choose_strength(task, solve, candidates, default=DEFAULT_MULTIPLE, widest=widest)
            used = candidates[choice[0]]
        solution, failed = minimise_sparse(task.problems(rearrange(used, "concept -> concept 1") * everything))
        return LayerFit(solution[:, :-1] / scale, used, choice, failed)

    def fit_pairs(halves: Halves) -> tuple[Float[Tensor, "concept d_model"], int]:
        return minimise_sparse(paired_problems(Design(halves.rows), halves, paired_strength))

    vectors, fits, unconverged = fit_layers(data, kinds, fit, fit_pairs)
    strengths = vectors.new_full(vectors.shape[1::-1], paired_strength)
    for layer, found in enumerate(fits):
        strengths[layer, kinds.unpaired] = found.strength
    nonzero = reduce((vectors != 0).float(), "concept layer d_model -> layer concept", "mean")
    parameters: dict[str, object] = {"strength": strengths.tolist(), "sparsity": nonzero.tolist()}
    if choices := [found.choice for found in fits if found.choice is not None]:
        parameters |= {
            "multiple_of_first_strength": [MULTIPLES[index] for index, _ in choices],
            "tried_multiples": MULTIPLES,
            "tried_auroc": [auroc for _, auroc in choices],
        }
    return Estimate(vectors, parameters | unconverged)


def first_strength(problems: Problems) -> Float[Tensor, " concept"]:
    """Compute the strength C at which a concept's first coordinate becomes non-zero; 0 if none ever does.

    With balanced classes and zero weights the best intercept is 0.
    """
    _, slopes = problems.loss_and_slopes(torch.zeros_like(problems.targets))
    largest = problems.design.pull(slopes)[:, :-1].abs().amax(dim=-1)
    return torch.where(largest > 0, 1.0 / largest, 0.0)
