"""Smooth convex regressions, fitted together by limited-memory BFGS.

Every problem has its own curvature memory and line search, and leaves the batch when it has converged. Scores are linear in the
weights, so that a line search needs no matrix product and an iteration needs two. The inverse Hessian starts from the diagonal of
the true Hessian, which is nearly complete in the principal axes of the rows (`rotate`).

Source: Nocedal & Wright 2006, Numerical Optimization, algorithms 7.4 (two-loop recursion) and 3.6 (line search; for a convex
function the bracket by the sign of the slope is enough).
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.problems import Problems

MEMORY = 10
"""Number of steps and gradient changes to remember; more than 10 saved no iterations on standardised residual streams."""

_Rows = Float[Tensor, "problem feature"]
_Values = Float[Tensor, " problem"]
_Pair = tuple[Tensor, Tensor, Tensor]


def minimise(
    problems: Problems, start: _Rows | None = None, *, tolerance: float = 1e-7, max_iterations: int = 300
) -> tuple[_Rows, int]:
    """Find the weights that minimise loss + sum_j penalty_j w_j^2 / 2 of every problem, and count those that did not converge.

    Args:
        problems: rows, targets, weights and penalty.
        start: weights to start from; zeros if None.
        tolerance: a problem is solved when the next step would lower its objective by less than this share.
        max_iterations: upper bound. Usual strengths need 5 to 30, a penalty of a millionth of the data hundreds.
    """
    features = problems.design.rows.shape[-1]
    point = problems.weights.new_zeros(len(problems.weights), features) if start is None else start.clone()
    solution = point.clone()
    alive = torch.arange(len(point), device=point.device)
    scores = problems.design.scores(point)
    diagonal = problems.penalty + problems.design.pull_squares(problems.curvatures(scores))
    diagonal = diagonal.clamp_min(torch.finfo(diagonal.dtype).tiny)
    value, gradient = problems.value_and_gradient(point, scores)
    history: list[_Pair] = []
    for _ in range(max_iterations):
        step = -_inverse_hessian_times(gradient, history, diagonal)
        slope = (step * gradient).sum(dim=-1)
        going = -slope > 2.0 * tolerance * value
        if not going.all():
            solution[alive] = point
            if not going.any():
                return solution, 0
            alive, problems = alive[going], problems.keep(going)
            point, scores, step, gradient, diagonal = (
                each[going] for each in (point, scores, step, gradient, diagonal)
            )
            slope, value = slope[going], value[going]
            history = [(moved[going], changed[going], rho[going]) for moved, changed, rho in history]
        along = problems.design.scores(step)
        length = rearrange(_line_search(problems, point, step, scores, along, value, slope), "problem -> problem 1")
        before = gradient
        moved = length * step
        point, scores = point + moved, scores + length * along
        value, gradient = problems.value_and_gradient(point, scores)
        changed = gradient - before
        product = (moved * changed).sum(dim=-1, keepdim=True)
        # A pair without curvature (a step of length 0, or rounding) would divide by zero; 0 drops it from the recursion.
        rho = torch.where(product > 0, 1.0 / product.clamp_min(torch.finfo(product.dtype).tiny), 0.0)
        history = [*history[-MEMORY + 1 :], (moved, changed, rho)]
    solution[alive] = point
    return solution, len(alive)


def _inverse_hessian_times(gradient: _Rows, history: list[_Pair], diagonal: _Rows) -> _Rows:
    """Run the two-loop recursion for all problems at once."""
    turned = gradient
    kept = []
    for moved, changed, rho in reversed(history):
        alpha = rho * (moved * turned).sum(dim=-1, keepdim=True)
        turned = turned - alpha * changed
        kept.append(alpha)
    turned = turned / diagonal
    if history:
        moved, changed, rho = history[-1]
        grown = rho * (changed.square() / diagonal).sum(dim=-1, keepdim=True)
        turned = torch.where(grown > 0, turned / grown, turned)
    for (moved, changed, rho), alpha in zip(history, reversed(kept), strict=True):
        beta = rho * (changed * turned).sum(dim=-1, keepdim=True)
        turned = turned + (alpha - beta) * moved
    return turned


def _line_search(
    problems: Problems,
    point: _Rows,
    step: _Rows,
    scores: Float[Tensor, "problem text"],
    along: Float[Tensor, "problem text"],
    value: _Values,
    slope: _Values,
    max_trials: int = 25,
) -> _Values:
    """Find lengths at which every problem's slope is at most half the first one and its objective no higher (strong Wolfe).

    The secant of the slopes narrows the bracket. A problem without such a length takes the lower end of its bracket.
    """
    low, high = torch.zeros_like(slope), torch.full_like(slope, torch.inf)
    low_slope, high_slope = slope, torch.zeros_like(slope)
    length = torch.ones_like(slope)
    chosen = torch.zeros_like(slope)
    open_ = torch.ones_like(slope, dtype=torch.bool)
    noise = 10.0 * torch.finfo(value.dtype).eps * value
    for _ in range(max_trials):
        wide = rearrange(length, "problem -> problem 1")
        loss, slopes = problems.loss_and_slopes(scores + wide * along)
        there = point + wide * step
        penalised = problems.penalty * there
        here = loss + 0.5 * (penalised * there).sum(dim=-1)
        here_slope = (slopes * along).sum(dim=-1) + (penalised * step).sum(dim=-1)
        higher = here > value + noise
        accepted = open_ & ~higher & (here_slope.abs() <= 0.5 * slope.abs())
        chosen = torch.where(accepted, length, chosen)
        open_ = open_ & ~accepted
        if not open_.any():
            return chosen
        beyond = higher | (here_slope > 0)
        low, low_slope = torch.where(beyond, low, length), torch.where(beyond, low_slope, here_slope)
        high, high_slope = torch.where(beyond, length, high), torch.where(beyond, here_slope, high_slope)
        secant = low + (high - low) * (low_slope / (low_slope - high_slope).clamp_max(-torch.finfo(low.dtype).tiny))
        inside = torch.minimum(torch.maximum(secant, 0.9 * low + 0.1 * high), 0.1 * low + 0.9 * high)
        length = torch.where(torch.isinf(high), 2.0 * low, inside)
    return torch.where(open_, low, chosen)
