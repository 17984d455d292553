"""Logistic regression with a ridge penalty: the normal of the plane that separates a concept's texts from the others.

Source: scikit-learn's `LogisticRegression`, whose objective this is; on pairs, steering-vectors 0.12.2's
`logistic_aggregator`. Massive dimensions and correlated features do not matter to it as they do to a difference of means.
"""

from functools import partial

import torch

from amygdala_tl.directions.problems import LOGISTIC, Problems, Task, signs
from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.design import Design, rotate
from amygdala_tl.directions.lbfgs import minimise
from amygdala_tl.directions.regression import Kinds, fit_ridge, halves_of, kinds_of, layers_of, unpaired_parameters

PAIRED_STRENGTH = 1.0
"""scikit-learn's default C, which steering-vectors leaves as it is."""


def logistic(data: LabelledActivations, *, strength: float | None = None) -> Estimate:
    """Weights w of every concept at every layer that minimise C sum_i s_i log(1 + exp(-y_i (w.h_i + b))) + ||w||^2 / 2.

    Unpaired concepts: h_i are activations standardised over all labelled texts of the layer, b is not penalised, and s_i
    makes both classes weigh the same (scikit-learn's "balanced"). w is divided by the standard deviations, so that the score
    of an activation as it is, is its product with the vector.

    Paired concepts (every group holds one positive and one negative): what steering-vectors gives; h_i are activations
    minus their pair's midpoint, not standardised, there is no b, and all s_i are 1.

    Args:
        data: activations and labels.
        strength: C, larger for a weaker penalty. If None: 1 for paired concepts, and for unpaired ones one value a layer,
            chosen for the best mean held-out AUROC over groups (see `strength.choose_strength`).

    Raises:
        FitError: an activation is not finite.
    """
    kinds = kinds_of(data)
    task = partial(logistic_task, data, kinds)
    vectors, strengths, aurocs, unconverged = [], [], [], 0
    for values in layers_of(data):
        vector = values.new_zeros(data.positive.shape[1], values.shape[1])
        if kinds.unpaired:
            vector[kinds.unpaired], chosen, auroc, failed = fit_ridge(values[kinds.texts], task, strength)
            strengths.append(chosen)
            aurocs.append(auroc)
            unconverged += failed
        for halves in halves_of(values, kinds.pairs):
            rotated = rotate(Design(halves.rows))
            # +half with label +1 and -half with label -1 have the same loss.
            weights = 2.0 * (PAIRED_STRENGTH if strength is None else strength) * halves.present.to(values.dtype)
            penalty = torch.ones_like(rotated.design.rows[0, 0])
            problems = Problems(rotated.design, LOGISTIC, torch.ones_like(weights), weights, penalty)
            solution, failed = minimise(problems)
            vector[halves.concepts] = rotated.back(solution)
            unconverged += failed
        vectors.append(vector)
    parameters = unpaired_parameters(strengths, aurocs, unconverged)
    if kinds.pairs:
        parameters["paired_strength"] = PAIRED_STRENGTH if strength is None else strength
    return Estimate(torch.stack(vectors, dim=1), parameters)


def logistic_task(data: LabelledActivations, kinds: Kinds, design: Design) -> Task:
    """Logistic regressions of the unpaired concepts on rows of the labelled texts."""
    positive, negative = (labels[kinds.texts][:, kinds.unpaired] for labels in (data.positive, data.negative))
    targets = signs(positive, design.rows.dtype)
    return Task(design, LOGISTIC, targets, positive, negative, data.groups[kinds.texts])
