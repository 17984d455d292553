"""Logistic regression with a ridge penalty: the normal of the plane that separates a concept's texts from the others.

Source: scikit-learn's `LogisticRegression`, which has the same objective; on pairs, steering-vectors 0.12.2's
`logistic_aggregator`. Massive dimensions and correlated features matter less to it than to a difference of means.
"""

from collections.abc import Sequence
from functools import partial

from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.design import Design, rotate
from amygdala_tl.directions.estimators import estimator
from amygdala_tl.directions.folds import Folds
from amygdala_tl.directions.lbfgs import minimise
from amygdala_tl.directions.problems import LOGISTIC, Problems
from amygdala_tl.directions.regression import Halves, class_task, fit_ridge, kinds_of
from amygdala_tl.directions.strength import Strength

PAIRED_STRENGTH = 1.0
"""scikit-learn's default C, which steering-vectors does not change."""


@estimator
def logistic(data: LabelledActivations, *, strength: Strength = None, folds: Folds = None) -> Estimate:
    """Minimise C sum_i s_i log(1 + exp(-y_i (w.h_i + b))) + ||w||^2 / 2 for every concept at every layer.

    `logistic(positive, negative)` takes two tensors and returns unit directions [layer, d_model]; see `estimator`.

    Unpaired concepts: h_i are activations, standardised over all labelled texts of the layer. The intercept b is not penalised,
    and s_i gives both classes the same weight (scikit-learn's "balanced"). The returned w is divided by the standard deviations:
    its product with a raw activation is the score.

    Paired concepts (every group holds one positive and one negative) get what steering-vectors computes: h_i are activations
    minus their pair's midpoint, not standardised, without b, and all s_i are 1.

    Args:
        data: activations and labels.
        strength: C; larger means a weaker penalty. If None, it is 1 for paired concepts. Unpaired ones share one value a layer:
            the best mean held-out AUROC over groups (see `choose_strength`). Several numbers are those of the layers, for
            unpaired concepts alone.
        folds: of all texts, to choose the strength on in place of 5 folds of groups; more than 5 are merged.

    Raises:
        FitError: an activation is not finite.
        InputError: strengths for another number of layers.
    """
    paired_strength = PAIRED_STRENGTH if strength is None or isinstance(strength, Sequence) else strength

    def solve_pairs(halves: Halves) -> tuple[Float[Tensor, "concept d_model"], int]:
        rotated, axes = rotate(Design(halves.rows))
        solution, failed = minimise(paired_problems(rotated, halves, paired_strength))
        return axes.pull(solution), failed

    kinds = kinds_of(data)
    task = partial(class_task, data, kinds, LOGISTIC)
    return fit_ridge(data, kinds, task, solve_pairs, strength, paired_strength=paired_strength, folds=folds)


def paired_problems(design: Design, halves: Halves, strength: float) -> Problems:
    """Set up the logistic regressions of paired concepts: +half has the label +1, and -half, with -1, has the same loss."""
    weights = 2.0 * strength * halves.present.to(design.rows.dtype)
    penalty = design.rows.new_ones(design.rows.shape[-1])
    return Problems(design, LOGISTIC, weights.new_ones(weights.shape), weights, penalty)
