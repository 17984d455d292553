"""Regressions with an L1 penalty, all fitted together by proximal Newton steps on working sets.

A problem's working set is its non-zero weights and the zeros whose gradient exceeds the penalty. On it the loss is replaced by
its second-order model, which is small (working set squared) and is solved to the end (`lasso_step`). A line search on the true
objective follows. Few passes over the rows are needed, and zeros are exact.

Source: Yuan, Ho & Lin 2012, JMLR 13, which liblinear uses; it solves the model by coordinate descent.
"""

from dataclasses import replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.directions.batched_logistic import Problems
from amygdala_tl.directions.design import Design
from amygdala_tl.directions.lasso import lasso_step

NEW_AT_LEAST = 24
"""Zeros that may join a working set at once; more where it is larger already."""

COLUMNS_AT_ONCE = 2**25
"""Numbers gathered at a time for second derivatives: 128 MB of float32."""

_Weights = Float[Tensor, "problem feature"]
_Small = Float[Tensor, "problem column"]
_Square = Float[Tensor, "problem column column"]
_Values = Float[Tensor, " problem"]


def minimise_sparse(
    problems: Problems, start: _Weights | None = None, *, tolerance: float = 1e-3, max_iterations: int = 100
) -> tuple[_Weights, int]:
    """Weights that minimise loss + sum_j penalty_j |w_j| of every problem, and how many problems did not converge.

    Args:
        problems: rows, targets, weights and penalty.
        start: weights to start from; zeros if None.
        tolerance: a problem ends when no subgradient is further than this from 0 (the penalty being 1).
        max_iterations: a bound; 6 to 15 are usual.
    """
    # A working set is gathered feature by feature: features must lie contiguous in memory.
    problems = replace(problems, design=Design(problems.design.rows.mT.contiguous().mT))
    features = problems.design.rows.shape[-1]
    point = problems.weights.new_zeros(len(problems.weights), features) if start is None else start.clone()
    solution = point.clone()
    alive = torch.arange(len(point), device=point.device)
    scores = problems.design.scores(point)
    for _ in range(max_iterations):
        loss, slopes = problems.loss_and_slopes(scores)
        gradient = problems.design.pull(slopes)
        violation = _violation(point, gradient, problems.penalty)
        going = violation.amax(dim=-1) > tolerance
        if not going.all():
            solution[alive] = point
            if not going.any():
                return solution, 0
            alive, problems = alive[going], problems.keep(going)
            point, scores, loss, gradient, violation = (
                each[going] for each in (point, scores, loss, gradient, violation)
            )
        step = _newton_step(problems, point, scores, gradient, violation)
        point, scores = _line_search(problems, point, step, scores, loss, gradient)
    solution[alive] = point
    return solution, len(alive)


def _violation(point: _Weights, gradient: _Weights, penalty: Float[Tensor, " feature"]) -> _Weights:
    """Distance of 0 from the subdifferential, coordinate by coordinate."""
    return torch.where(point != 0, (gradient + penalty * point.sign()).abs(), (gradient.abs() - penalty).clamp_min(0.0))


def _newton_step(
    problems: Problems,
    point: _Weights,
    scores: Float[Tensor, "problem text"],
    gradient: _Weights,
    violation: _Weights,
) -> _Weights:
    """Minimiser of the second-order model on every problem's working set, minus the point."""
    held = (point != 0) | (problems.penalty == 0)
    rank = torch.where(held, torch.inf, violation)
    sizes = torch.minimum((rank > 0).sum(dim=-1), held.sum(dim=-1) + held.sum(dim=-1).clamp_min(NEW_AT_LEAST))
    curvature = problems.curvatures(scores)
    step = torch.zeros_like(point)
    # Problems of like size go together, so that little is padded.
    order = sizes.argsort()
    texts = problems.design.rows.shape[-2]
    while len(order):
        largest = int(sizes[order[-1]])
        some, order = _last(order, max(1, COLUMNS_AT_ONCE // (largest * texts)), sizes, largest)
        worst = rank[some].topk(largest, dim=-1)
        used = torch.arange(largest, device=order.device) < sizes[some][:, None]
        small_step = lasso_step(
            _hessian(problems, some, worst.indices, used, curvature[some]),
            torch.where(used, gradient[some].gather(1, worst.indices), 0.0),
            torch.where(used, point[some].gather(1, worst.indices), 0.0),
            torch.where(used, problems.penalty[worst.indices], 0.0),
        )
        wide = torch.zeros_like(point[some]).scatter_add_(1, worst.indices, torch.where(used, small_step, 0.0))
        step[some] = wide
    return step


def _last(
    order: Int[Tensor, " waiting"], most: int, sizes: Int[Tensor, " problem"], largest: int
) -> tuple[Int[Tensor, " chosen"], Int[Tensor, " left"]]:
    """The last problems of the order, those at least two thirds as large as the largest, and the others."""
    alike = int((3 * sizes[order] >= 2 * largest).sum())
    cut = len(order) - min(most, alike)
    return order[cut:], order[:cut]


def _hessian(
    problems: Problems,
    some: Int[Tensor, " problem"],
    columns: Int[Tensor, "problem column"],
    used: Bool[Tensor, "problem column"],
    curvature: Float[Tensor, "problem text"],
) -> _Square:
    """Second derivatives by the chosen features; the identity for unused columns."""
    chosen = problems.design.columns(some, columns)
    hessian = (chosen * rearrange(curvature, "problem text -> problem 1 text")) @ chosen.mT
    both = used[:, :, None] & used[:, None, :]
    hessian = torch.where(both, hessian, 0.0)
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    # With fewer rows than columns the model is flat in some directions, and float32 products may leave it bent the wrong way by
    # a rounding of its largest eigenvalue, which the trace bounds. A millionth of that shortens steps, not the solution.
    diagonal.add_(1e-6 * diagonal.sum(dim=-1, keepdim=True).clamp_min(1e-30))
    diagonal.copy_(torch.where(used, diagonal, 1.0))
    return hessian


def _line_search(
    problems: Problems,
    point: _Weights,
    step: _Weights,
    scores: Float[Tensor, "problem text"],
    loss: _Values,
    gradient: _Weights,
    max_halvings: int = 20,
) -> tuple[_Weights, Float[Tensor, "problem text"]]:
    """The point and scores after the longest step of 1, 1/2, 1/4... that lowers every problem's objective enough (Armijo)."""

    def norm(weights: _Weights) -> _Values:
        return (problems.penalty * weights.abs()).sum(dim=-1)

    along = problems.design.scores(step)
    before = loss + norm(point)
    promised = (gradient * step).sum(dim=-1) + norm(point + step) - norm(point)
    noise = 10.0 * torch.finfo(loss.dtype).eps * before
    length = torch.ones_like(loss)
    for _ in range(max_halvings):
        wide = rearrange(length, "problem -> problem 1")
        here, _ = problems.loss_and_slopes(scores + wide * along)
        short = here + norm(point + wide * step) > before + 1e-3 * length * promised + noise
        if not short.any():
            break
        length = torch.where(short, length / 2.0, length)
    wide = rearrange(length, "problem -> problem 1")
    return point + wide * step, scores + wide * along
