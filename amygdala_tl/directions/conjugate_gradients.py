"""Ridge regressions, fitted together by preconditioned conjugate gradients.

A squared loss makes the objective quadratic: the best length of a step is known without a search, and the last step and gradient
are all the memory that is needed. An iteration needs two matrix products for all problems, and the preconditioner is the diagonal
of the Hessian, which is nearly complete in the principal axes of the rows (`rotate`).

Source: Nocedal & Wright 2006, Numerical Optimization, algorithm 5.3, with the Polak-Ribiere coefficient of section 5.2, because
gradients are computed anew instead of updated.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.linalg import vecdot

from amygdala_tl.directions.problems import Problems

_Rows = Float[Tensor, "problem feature"]


def minimise_quadratic(
    problems: Problems, start: _Rows | None = None, *, tolerance: float = 1e-7, max_iterations: int = 300
) -> tuple[_Rows, int]:
    """Find the weights that minimise a squared loss + sum_j penalty_j w_j^2 / 2; all else as in `lbfgs.minimise`."""
    point = problems.weights.new_zeros(len(problems.weights), problems.design.rows.shape[-1])
    point = point if start is None else start.clone()
    solution = point.clone()
    alive = torch.arange(len(point), device=point.device)
    scores = problems.design.scores(point)
    # The second derivative of a squared loss is 1, so the weights are the curvatures.
    diagonal = problems.penalty + problems.design.pull_squares(problems.weights)
    diagonal = diagonal.clamp_min(torch.finfo(diagonal.dtype).tiny)
    value, gradient = problems.value_and_gradient(point, scores)
    step = -gradient / diagonal
    for _ in range(max_iterations):
        along = problems.design.scores(step)
        curvature = vecdot(problems.weights * along, along) + vecdot(problems.penalty * step, step)
        slope = vecdot(step, gradient)
        going = slope.square() > 2.0 * tolerance * value * curvature  # the best step lowers the objective by more
        if not going.all():
            solution[alive] = point
            if not going.any():
                return solution, 0
            alive, problems, curvature, slope = alive[going], problems.keep(going), curvature[going], slope[going]
            point, scores, step, along, gradient, diagonal = (
                each[going] for each in (point, scores, step, along, gradient, diagonal)
            )
        length = rearrange(-slope / curvature, "problem -> problem 1")
        point, scores, before = point + length * step, scores + length * along, gradient
        value, gradient = problems.value_and_gradient(point, scores)
        scaled = gradient / diagonal
        turned = (vecdot(gradient - before, scaled) / vecdot(before, before / diagonal)).clamp_min(0.0)
        step = rearrange(turned, "problem -> problem 1") * step - scaled
    solution[alive] = point
    return solution, len(alive)
