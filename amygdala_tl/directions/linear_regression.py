"""Ridge regression on the labels, or on grades where texts have them: the direction along which a concept's score grows.

Source: scikit-learn's `Ridge`, whose objective this is; on pairs, its `LinearRegression` the way steering-vectors 0.12.2 fits
regressions (on pairs centred on their midpoints, without an intercept).
"""

from dataclasses import replace
from functools import partial

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.problems import SQUARED, Task, signs
from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.design import Design
from amygdala_tl.directions.regression import (
    Halves,
    Kinds,
    fit_ridge,
    halves_of,
    kinds_of,
    layers_of,
    unpaired_parameters,
)

RANK = 1e-12
"""Eigenvalues of the pairs' products below this share of the largest are 0: singular values below a millionth."""


def linear(data: LabelledActivations, *, strength: float | None = None) -> Estimate:
    """Weights w of every concept at every layer that minimise C sum_i s_i (w.h_i + b - y_i)^2 + ||w||^2.

    Unpaired concepts: h_i are activations standardised over all texts of the layer that have a label (or a grade), b is not
    penalised, y_i is +1 or -1, and s_i makes both classes weigh the same. Where grades are given y_i are the grades of all
    texts that have one, with s_i = 1, and no concept counts as paired. The system of a concept with weights of its own is
    solved by iterations in the principal axes that all share; with equal weights, as grades without gaps give, the first
    iteration is the closed form.

    Paired concepts (every group holds one positive and one negative): h_i are activations minus their pair's midpoint, not
    standardised, without b; least squares, of minimum norm where there are fewer pairs than dimensions.

    Args:
        data: activations and labels; grades if the regression is on them.
        strength: C, larger for a weaker penalty; scikit-learn's alpha is 1 / C. If None: no penalty for paired concepts, and
            for unpaired ones one value a layer, chosen for the best mean held-out AUROC over groups (see
            `strength.choose_strength`).

    Raises:
        FitError: an activation is not finite.
    """
    kinds = kinds_of(data)
    if data.grades is not None:
        everyone = list(range(data.positive.shape[1]))
        known = ~torch.isnan(data.grades)
        kinds = replace(kinds, pairs={}, unpaired=everyone, texts=(known | data.positive | data.negative).any(dim=1))
    task = partial(_task, data, kinds)
    vectors, strengths, aurocs, unconverged = [], [], [], 0
    for values in layers_of(data):
        vector = values.new_zeros(data.positive.shape[1], values.shape[1])
        if kinds.unpaired:
            vector[kinds.unpaired], chosen, auroc, failed = fit_ridge(values[kinds.texts], task, strength)
            strengths.append(chosen)
            aurocs.append(auroc)
            unconverged += failed
        for halves in halves_of(values, kinds.pairs):
            vector[halves.concepts] = _least_squares(halves, 0.0 if strength is None else 0.5 / strength)
        vectors.append(vector)
    parameters = unpaired_parameters(strengths, aurocs, unconverged)
    if kinds.pairs:
        parameters["paired_strength"] = strength  # None: no penalty
    return Estimate(torch.stack(vectors, dim=1), parameters)


def _task(data: LabelledActivations, kinds: Kinds, design: Design) -> Task:
    """Ridge regressions of the unpaired concepts on rows of their texts."""
    positive, negative = (labels[kinds.texts][:, kinds.unpaired] for labels in (data.positive, data.negative))
    groups = data.groups[kinds.texts]
    if data.grades is None:
        return Task(design, SQUARED, signs(positive, design.rows.dtype), positive, negative, groups)
    grades = data.grades[kinds.texts].to(design.rows.dtype)
    return Task(design, SQUARED, grades.nan_to_num(0.0), positive, negative, groups, known=~torch.isnan(grades))


def _least_squares(halves: Halves, ridge: float) -> Float[Tensor, "concept d_model"]:
    """w of every concept that minimises sum_pairs (w.half - 1)^2 + ridge ||w||^2; of minimum norm if that leaves a choice.

    Worked on in float64: the products of the rows have the square of their condition number.
    """
    rows, ones = halves.rows.double(), halves.present.double()
    pull = einsum(rows, ones, "concept pair d_model, concept pair -> concept d_model")
    few = rows.shape[1] < rows.shape[2]
    products = rows @ rows.mT if few else rows.mT @ rows
    values, axes = torch.linalg.eigh(products)
    kept = values > RANK * values.amax(dim=-1, keepdim=True)
    inverse = torch.where(kept, 1.0 / (torch.where(kept, values, 1.0) + ridge), 0.0)
    right = ones if few else pull
    turned = inverse * einsum(axes, right, "concept row axis, concept row -> concept axis")
    solved = einsum(axes, turned, "concept row axis, concept axis -> concept row")
    if few:
        solved = einsum(rows, solved, "concept pair d_model, concept pair -> concept d_model")
    vectors: Tensor = solved.to(halves.rows.dtype)
    return vectors
