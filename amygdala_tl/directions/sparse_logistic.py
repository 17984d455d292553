"""Logistic regression with an L1 penalty: a direction that few coordinates carry.

Source: scikit-learn's `LogisticRegression(l1_ratio=1)`, whose objective this is; on pairs, steering-vectors 0.12.2's
`logistic_aggregator` with that penalty. A penalty that is too strong leaves nothing at all: such a vector stays zero here, and
`estimator.unit_directions` refuses it by name.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.problems import LOGISTIC, Problems
from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.design import Design, standardise
from amygdala_tl.directions.logistic_regression import PAIRED_STRENGTH, logistic_task
from amygdala_tl.directions.fista import minimise_sparse
from amygdala_tl.directions.regression import halves_of, kinds_of, layers_of
from amygdala_tl.directions.strength import choose_strength

MULTIPLES = (1.5, 3.0, 6.0, 12.0, 25.0, 50.0, 100.0, 200.0)
"""Candidates for the strength, times the strength at which a concept's first coordinate becomes non-zero. Above 1 some
coordinate always is, so that no choice leaves a concept without a vector."""

DEFAULT_MULTIPLE = 2
"""Index of the candidate that is used where texts cannot be cut into folds."""

ROUGH = 0.1
"""Tolerance of the fits that only choose a strength."""

DENSEST, DENSE_ANYWAY = 1 / 3, 48.0
"""No weaker penalty is tried where more than a third of the coordinates (and more than 48) are not zero: such a vector is not
sparse, and `logistic` fits it better and ten times faster."""


def logistic_l1(data: LabelledActivations, *, strength: float | None = None) -> Estimate:
    """Weights w of every concept at every layer that minimise C sum_i s_i log(1 + exp(-y_i (w.h_i + b))) + sum_j |w_j|.

    Features h_i, class weights s_i, the intercept b and paired concepts are as in `logistic`.

    Args:
        data: activations and labels.
        strength: C, larger for a weaker penalty. If None: 1 for paired concepts; for unpaired ones a multiple of the C at
            which the concept's vector is no longer zero, one multiple a layer, chosen for the best mean held-out AUROC over
            groups (see `strength.choose_strength`).

    Returns:
        with the share of non-zero coordinates as the parameter `sparsity`, [layer][concept], like `strength`.

    Raises:
        FitError: an activation is not finite.
    """
    kinds = kinds_of(data)
    vectors, strengths, multiples, aurocs, unconverged = [], [], [], [], 0
    for values in layers_of(data):
        vector = values.new_zeros(data.positive.shape[1], values.shape[1])
        used = values.new_full((len(vector),), PAIRED_STRENGTH if strength is None else strength)
        if kinds.unpaired:
            rows, scale = standardise(values[kinds.texts])
            design = Design(rows).with_ones()
            task = logistic_task(data, kinds, design)
            everything = task.weights(torch.ones_like(task.groups, dtype=torch.bool))
            if strength is None:
                first = first_strength(design, task.targets, everything)
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
            solution, failed = minimise_sparse(task.problems(used[kinds.unpaired][:, None] * everything))
            vector[kinds.unpaired] = solution[:, :-1] / scale
            unconverged += failed
        for halves in halves_of(values, kinds.pairs):
            # +half with label +1 and -half with label -1 have the same loss.
            weights = 2.0 * used[halves.concepts][:, None] * halves.present.to(values.dtype)
            penalty = torch.ones_like(halves.rows[0, 0])
            problems = Problems(Design(halves.rows), LOGISTIC, torch.ones_like(weights), weights, penalty)
            vector[halves.concepts], failed = minimise_sparse(problems)
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


def first_strength(
    design: Design, targets: Float[Tensor, "text concept"], weights: Float[Tensor, "concept text"]
) -> Float[Tensor, " concept"]:
    """The strength C at which a concept's first coordinate is about to become non-zero; 0 if none ever does.

    With balanced classes the best intercept beside no weights is 0, where every slope is half a class weight.
    """
    largest = design.pull(0.5 * weights * rearrange(targets, "text concept -> concept text"))[:, :-1].abs().amax(dim=-1)
    return torch.where(largest > 0, 1.0 / largest, 0.0)


def _roughly(problems: Problems, start: Float[Tensor, "problem feature"] | None) -> Float[Tensor, "problem feature"]:
    return minimise_sparse(problems, start, tolerance=ROUGH)[0]
