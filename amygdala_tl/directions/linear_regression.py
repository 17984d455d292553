"""Ridge regression on labels or grades: the direction along which a concept's score grows.

Source: scikit-learn's `Ridge`, which has the same objective. On pairs: its `LinearRegression` as steering-vectors 0.12.2 fits
regressions, on pairs centred on their midpoints and without an intercept.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.design import Design
from amygdala_tl.directions.estimators import estimator
from amygdala_tl.directions.folds import Folds
from amygdala_tl.directions.problems import SQUARED, Task
from amygdala_tl.directions.regression import Halves, class_task, fit_ridge, kinds_of
from amygdala_tl.directions.strength import Strength

RANK = 1e-12
"""Eigenvalues of the pairs' products below this share of the largest count as 0: singular values below a millionth."""


@estimator
def linear(data: LabelledActivations, *, strength: Strength = None, folds: Folds = None) -> Estimate:
    """Minimise C sum_i s_i (w.h_i + b - y_i)^2 + ||w||^2 for every concept at every layer.

    `linear(positive, negative)` takes two tensors and returns unit directions [layer, d_model]; see `estimator`.

    Unpaired concepts: h_i are activations, standardised over all texts of the layer that have a label (or a grade). The
    intercept b is not penalised, y_i is +1 or -1, and s_i gives both classes the same weight. With grades, y_i are the grades of
    all texts that have one, s_i = 1, and no concept counts as paired.

    Paired concepts (every group holds one positive and one negative): h_i are activations minus their pair's midpoint, not
    standardised, without b. With fewer pairs than dimensions this is the solution of minimum norm.

    Args:
        data: with grades for a regression on them.
        strength: C; larger means a weaker penalty. scikit-learn's alpha is 1 / C. If None, paired concepts have no penalty,
            and unpaired ones share one value a layer: the best mean held-out AUROC over groups (see `choose_strength`).
            Several numbers are those of the layers, for unpaired concepts alone.
        folds: of all texts, to choose the strength on in place of 5 folds of groups; more than 5 are merged.

    Raises:
        FitError: an activation is not finite.
        InputError: strengths for another number of layers.
    """
    kinds = kinds_of(data, data.grades)
    paired_strength = None if isinstance(strength, Sequence) else strength

    def task(design: Design) -> Task:
        found = class_task(data, kinds, SQUARED, design)
        if data.grades is None:
            return found
        grades = data.grades[kinds.texts].to(design.rows.dtype)
        return replace(found, targets=grades.nan_to_num(0.0), known=~grades.isnan())

    def solve_pairs(halves: Halves) -> tuple[Float[Tensor, "concept d_model"], int]:
        return _least_squares(halves, 0.0 if paired_strength is None else 0.5 / paired_strength), 0

    return fit_ridge(data, kinds, task, solve_pairs, strength, paired_strength=paired_strength, folds=folds)


def _least_squares(halves: Halves, ridge: float) -> Float[Tensor, "concept d_model"]:
    """Minimise sum_pairs (w.half - 1)^2 + ridge ||w||^2 for every concept; take the solution of minimum norm.

    Computed in float64, because the products of the rows square their condition number.
    """
    rows, ones = halves.rows.double(), halves.present.double()
    few = rows.shape[1] < rows.shape[2]
    products = rows @ rows.mT if few else rows.mT @ rows
    right = ones if few else einsum(rows, ones, "concept pair d_model, concept pair -> concept d_model")
    values, axes = torch.linalg.eigh(products)
    kept = values > RANK * values.amax(dim=-1, keepdim=True)
    inverse = torch.where(kept, 1.0 / (torch.where(kept, values, 1.0) + ridge), 0.0)
    turned = inverse * einsum(axes, right, "concept row axis, concept row -> concept axis")
    solved = einsum(axes, turned, "concept row axis, concept axis -> concept row")
    if few:
        solved = einsum(rows, solved, "concept pair d_model, concept pair -> concept d_model")
    vectors: Tensor = solved.to(halves.rows.dtype)
    return vectors
