"""Small quadratic models with an L1 penalty, all solved together by an interior-point method.

Activations' features are so correlated that coordinate descent needs thousands of sweeps on such a model, one coordinate after
the other. An interior-point method needs some twenty factorisations whatever the correlations, and a batch of problems
shares every one. Its weights are never exactly zero; the last step reads the support off its prices (the multipliers of
a, b >= 0 below) and solves the linear system that is left.

Source: Mehrotra 1992, SIAM J. Optimization 2(4) (predictor and corrector); the penalty is split as |u| = a + b with u = a - b
and a, b >= 0, and the split is eliminated, so that systems have the model's own size.
"""

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor

GAP = 1e-11
"""A model is solved when the duality gap is below this share of the penalty it pays."""

MAX_ITERATIONS = 40

WIDE = 100.0
"""Start of a and b in units of penalty over curvature. From 1, which suits uncorrelated features, it takes twice as long."""

_Small = Float[Tensor, "problem column"]
_Square = Float[Tensor, "problem column column"]


def lasso_step(hessian: _Square, gradient: _Small, at: _Small, penalty: _Small) -> _Small:
    """Step d that minimises gradient.d + d.H d / 2 + sum_j penalty_j |at_j + d_j| of every problem.

    Args:
        hessian: positive definite; worked on in float64.
        gradient, at: of the model.
        penalty: 0 or more; 0 for a weight that is free.
    """
    model, slope, start, price = (each.double() for each in (hessian, gradient, at, penalty))
    weights, active = _interior_point(model, slope, start, price)
    return (_polish(model, slope, start, price, weights, active) - start).to(at.dtype)


@dataclass(frozen=True, slots=True)
class _Split:
    """The two sides of every weight and the prices of their bounds, or a move of them."""

    up: _Small
    down: _Small
    up_price: _Small
    down_price: _Small

    def parts(self) -> tuple[_Small, _Small, _Small, _Small]:
        return self.up, self.down, self.up_price, self.down_price

    def gap(self, bound: Bool[Tensor, "problem column"]) -> Float[Tensor, "problem 1"]:
        products = self.up * self.up_price + self.down * self.down_price
        return torch.where(bound, products, 0.0).sum(dim=-1, keepdim=True)

    def after(self, move: "_Split", length: Float[Tensor, "problem 1"]) -> "_Split":
        return _Split(*(part + length * by for part, by in zip(self.parts(), move.parts(), strict=True)))

    def where(self, chosen: Bool[Tensor, "problem column"], other: "_Split") -> "_Split":
        return _Split(*(torch.where(chosen, a, b) for a, b in zip(self.parts(), other.parts(), strict=True)))

    def longest(self, move: "_Split", bound: Bool[Tensor, "problem column"]) -> Float[Tensor, "problem 1"]:
        """Longest step, at most 1, after which no part is negative."""
        limits = [
            torch.where(bound & (by < 0), -part / by.clamp_max(-1e-300), 1.0)
            for part, by in zip(self.parts(), move.parts(), strict=True)
        ]
        return torch.stack(limits).amin(dim=0).amin(dim=-1, keepdim=True).clamp_max(1.0)


@dataclass(frozen=True, slots=True)
class _System:
    """Newton's linear system at a split: the same factor serves predictor and corrector."""

    hessian: _Square
    factor: _Square
    bound: Bool[Tensor, "problem column"]
    weights: _Small
    slope: _Small
    split: _Split
    up_rest: _Small
    down_rest: _Small

    def move(self, up_goal: _Small, down_goal: _Small) -> tuple[_Small, _Split]:
        """Move of the weights and of the split towards products (side times price) of these sizes."""
        up, down, up_price, down_price = self.split.parts()
        pull = up_goal / up_price - down_goal / down_price - self.weights
        pull = pull - up / up_price * self.up_rest + down / down_price * self.down_rest
        right = torch.where(self.bound, pull / (up / up_price + down / down_price), -self.slope)
        move = torch.cholesky_solve(right[:, :, None], self.factor)[:, :, 0]
        bend = einsum(self.hessian, move, "problem row column, problem column -> problem row")
        up_price_move, down_price_move = bend + self.up_rest, -bend + self.down_rest
        up_move = (up_goal - up * up_price_move) / up_price - up
        down_move = (down_goal - down * down_price_move) / down_price - down
        # The side whose price is vanishing would be a difference of huge numbers: it follows from the other side.
        upper = up / up_price > down / down_price
        up_move, down_move = (
            torch.where(upper, move + down_move, up_move),
            torch.where(upper, down_move, up_move - move),
        )
        up_price_move = torch.where(upper, (up_goal - up_price * up_move) / up - up_price, up_price_move)
        down_price_move = torch.where(upper, down_price_move, (down_goal - down_price * down_move) / down - down_price)
        return move, _Split(up_move, down_move, up_price_move, down_price_move)


def _interior_point(
    hessian: _Square, gradient: _Small, at: _Small, penalty: _Small
) -> tuple[_Small, Bool[Tensor, "problem column"]]:
    """Weights near the minimum, and which of them are not zero there."""
    bound = penalty > 0
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    price = torch.where(bound, penalty, 1.0)  # a free weight has no split; 1 keeps its unused place finite
    wide = WIDE * price / diagonal
    split = _Split(at.clamp_min(0.0) + wide, (-at).clamp_min(0.0) + wide, price, price)
    free = at
    sides = 2 * bound.sum(dim=-1, keepdim=True).clamp_min(1)
    for _ in range(MAX_ITERATIONS):
        weights = torch.where(bound, split.up - split.down, free)
        slope = gradient + einsum(hessian, weights - at, "problem row column, problem column -> problem row")
        up_rest, down_rest = slope + penalty - split.up_price, -slope + penalty - split.down_price
        gap = split.gap(bound)
        rest = torch.where(bound, torch.maximum(up_rest.abs(), down_rest.abs()), slope.abs()).amax(dim=-1, keepdim=True)
        done = (gap <= GAP * (1.0 + (penalty * weights.abs()).sum(dim=-1, keepdim=True))) & (rest <= 1e-6)
        if done.all():
            break
        stiff = hessian.clone()
        ratio = split.up / split.up_price + split.down / split.down_price
        stiff.diagonal(dim1=-2, dim2=-1).add_(torch.where(bound, 1.0 / ratio, 0.0))
        factor, _ = torch.linalg.cholesky_ex(stiff)
        system = _System(hessian, factor, bound, weights, slope, split, up_rest, down_rest)
        none = torch.zeros_like(at)
        _, predicted = system.move(none, none)
        left = split.after(predicted, split.longest(predicted, bound)).gap(bound)
        centre = (left / gap.clamp_min(1e-300)).clamp(0.0, 1.0) ** 3 * gap / sides
        move, corrected = system.move(
            centre - predicted.up * predicted.up_price, centre - predicted.down * predicted.down_price
        )
        finite = torch.isfinite(torch.stack([move, *corrected.parts()])).all(dim=0).all(dim=-1, keepdim=True) & ~done
        length = torch.where(finite, 0.995 * split.longest(corrected, bound), 0.0)
        split = split.after(corrected, length).where(bound & finite, split)
        free = torch.where(finite & ~bound, free + length * move, free)
    weights = torch.where(bound, split.up - split.down, free)
    active = (split.up * diagonal > split.up_price) | (split.down * diagonal > split.down_price)
    return weights, active | ~bound


def _polish(
    hessian: _Square,
    gradient: _Small,
    at: _Small,
    penalty: _Small,
    weights: _Small,
    active: Bool[Tensor, "problem column"],
) -> _Small:
    """The model's minimum among weights with this support and these signs; the weights cut to it where a sign would change."""
    weights = torch.where(active, weights, 0.0)
    slope = gradient + einsum(hessian, weights - at, "problem row column, problem column -> problem row")
    face = torch.where(active[:, :, None] & active[:, None, :], hessian, 0.0)
    face.diagonal(dim1=-2, dim2=-1).add_((~active).to(face.dtype))
    factor, _ = torch.linalg.cholesky_ex(face)
    toward = torch.where(active, -(slope + penalty * weights.sign()), 0.0)
    polished = weights + torch.cholesky_solve(toward[:, :, None], factor)[:, :, 0]
    kept = torch.isfinite(polished) & ((penalty == 0) | (polished * weights >= 0))
    return torch.where(kept.all(dim=-1, keepdim=True), polished, weights)
