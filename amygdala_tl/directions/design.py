"""Rows that many regressions are fitted on together: one matrix for all of them, or one for each.

A *problem* is one regression: a concept, or a concept in one fold of a cross-validation. Tags give all problems of a layer
the same rows, with weights that say which rows count, so that one matrix product serves them all. Pairs give every concept
rows of its own.
"""

from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

CONSTANT = 1e-6
"""A feature whose standard deviation is below this share of its mean is constant as far as float32 can tell."""


@dataclass(frozen=True, slots=True)
class Design:
    """Rows of problems.

    Attributes:
        rows: [text, feature], shared by all problems, or [problem, text, feature].
    """

    rows: Float[Tensor, "*problem text feature"]

    def scores(self, weights: Float[Tensor, "problem feature"]) -> Float[Tensor, "problem text"]:
        """Every row times the problem's weights."""
        if self.rows.ndim == 2:
            return weights @ self.rows.T
        return einsum(self.rows, weights, "problem text feature, problem feature -> problem text")

    def pull(self, factors: Float[Tensor, "problem text"]) -> Float[Tensor, "problem feature"]:
        """Sum of the rows, each times its factor."""
        if self.rows.ndim == 2:
            return factors @ self.rows
        return einsum(self.rows, factors, "problem text feature, problem text -> problem feature")

    def pull_squares(self, factors: Float[Tensor, "problem text"]) -> Float[Tensor, "problem feature"]:
        """Sum of the squared rows, each times its factor."""
        return Design(self.rows.square()).pull(factors)

    def keep(self, problems: Bool[Tensor, " problem"]) -> "Design":
        """The rows of these problems."""
        return self if self.rows.ndim == 2 else Design(self.rows[problems])

    def columns(
        self, problems: Int[Tensor, " chosen"], features: Int[Tensor, "chosen column"]
    ) -> Float[Tensor, "chosen column text"]:
        """Some features of some problems' rows."""
        if self.rows.ndim == 2:
            return self.rows.T[features]
        columns = rearrange(self.rows[problems], "chosen text feature -> chosen feature text")
        return torch.take_along_dim(columns, features[:, :, None], dim=1)

    def with_ones(self) -> "Design":
        """The rows with a last feature of ones, whose weight is the intercept."""
        return Design(torch.cat([self.rows, torch.ones_like(self.rows[..., :1])], dim=-1))


@dataclass(frozen=True, slots=True)
class Rotated:
    """A design in its own principal axes, which leaves a Euclidean norm of weights, and so a ridge penalty, as it was.

    Attributes:
        design: rows in the new axes; no more axes than there are rows.
        axes: [feature, axis] orthonormal, or [problem, feature, axis].
    """

    design: Design
    axes: Float[Tensor, "*problem feature axis"]

    def back(self, weights: Float[Tensor, "problem axis"]) -> Float[Tensor, "problem feature"]:
        """Weights of the features from weights of the axes."""
        if self.axes.ndim == 2:
            return weights @ self.axes.T
        return einsum(self.axes, weights, "problem feature axis, problem axis -> problem feature")


def rotate(design: Design) -> Rotated:
    """The design in its principal axes.

    There the curvature of a loss is nearly diagonal, so a diagonal preconditioner makes a solver's steps nearly Newton's;
    with fewer rows than features the problem shrinks to as many unknowns as rows, because a ridge solution lies in their
    span. The rotation is exact even where the eigenvectors are not: they are orthonormal to rounding.
    """
    rows = design.rows
    axes = None
    if rows.shape[-2] < rows.shape[-1]:
        axes, triangle = torch.linalg.qr(rows.mT)
        rows = triangle.mT
    turn = torch.linalg.eigh(rows.mT @ rows).eigenvectors
    return Rotated(Design(rows @ turn), turn if axes is None else axes @ turn)


def standardise(
    values: Float[Tensor, "text d_model"],
) -> tuple[Float[Tensor, "text d_model"], Float[Tensor, " d_model"]]:
    """Every feature at mean 0 and standard deviation 1 over the texts, and the standard deviations.

    A constant feature becomes 0, and its deviation counts as infinite, so that its weight is 0 for activations as they are.
    """
    variance, mean = torch.var_mean(values, dim=0, correction=0)
    deviation = variance.sqrt()
    scale = torch.where(deviation > CONSTANT * mean.abs(), deviation, torch.inf)
    return (values - mean) / scale, scale


def at_least_float32(values: Float[Tensor, "*axis"]) -> Float[Tensor, "*axis"]:
    """The values in float32, or float64 if they are."""
    return values if values.dtype == torch.float64 else values.float()
