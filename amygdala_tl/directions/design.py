"""Rows of regressions that are fitted together: one matrix for all of them, or one for each.

A *problem* is one regression: a concept, or a concept in one fold of a cross-validation. With tags all problems of a layer have
the same rows, and weights select the rows that count, so that one matrix product serves them all. With pairs every concept has
rows of its own.
"""

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor

CONSTANT = 1e-6
"""Features with a standard deviation below this share of their mean are constant: float32 cannot resolve less."""


@dataclass(frozen=True, slots=True)
class Design:
    """Rows of problems.

    Attributes:
        rows: [text, feature], shared by all problems, or [problem, text, feature].
    """

    rows: Float[Tensor, "*problem text feature"]

    def scores(self, weights: Float[Tensor, "problem feature"]) -> Float[Tensor, "problem text"]:
        """Multiply every row with its problem's weights."""
        return Design(self.rows.mT).pull(weights)

    def pull(self, factors: Float[Tensor, "problem text"]) -> Float[Tensor, "problem feature"]:
        """Sum the rows, each times its factor."""
        if self.rows.ndim == 2:
            return factors @ self.rows
        return einsum(self.rows, factors, "problem text feature, problem text -> problem feature")

    def pull_squares(self, factors: Float[Tensor, "problem text"]) -> Float[Tensor, "problem feature"]:
        """Sum the squared rows, each times its factor."""
        return Design(self.rows.square()).pull(factors)

    def keep(self, problems: Bool[Tensor, " problem"]) -> "Design":
        """Keep the rows of these problems."""
        return self if self.rows.ndim == 2 else Design(self.rows[problems])

    def with_ones(self) -> "Design":
        """Append a feature of ones, so that its weight is the intercept."""
        return Design(torch.cat([self.rows, torch.ones_like(self.rows[..., :1])], dim=-1))


def rotate(design: Design) -> tuple[Design, Design]:
    """Rotate a design into its principal axes, which preserves the Euclidean norm of weights and so a ridge penalty.

    There the curvature of a loss is nearly diagonal, so a diagonal preconditioner makes a solver's steps nearly Newton's. With
    fewer rows than features the problem shrinks to as many unknowns as rows, because a ridge solution lies in their span. The
    rotation is exact even if the eigenvectors are not: they are orthonormal to rounding.

    Returns:
        The rows in the new axes, and the axes themselves: their `pull` turns weights of the axes into weights of the features.
    """
    rows = design.rows
    axes = None
    if rows.shape[-2] < rows.shape[-1]:
        axes, triangle = torch.linalg.qr(rows.mT)
        rows = triangle.mT
    turn = torch.linalg.eigh(rows.mT @ rows).eigenvectors
    return Design(rows @ turn), Design((turn if axes is None else axes @ turn).mT)


def standardise(
    values: Float[Tensor, "text d_model"],
) -> tuple[Float[Tensor, "text d_model"], Float[Tensor, " d_model"]]:
    """Scale every feature to mean 0 and standard deviation 1 over the texts; also return the standard deviations.

    A constant feature becomes 0 with an infinite deviation, so that its weight for raw activations is 0.
    """
    variance, mean = torch.var_mean(values, dim=0, correction=0)
    deviation = variance.sqrt()
    scale = torch.where(deviation > CONSTANT * mean.abs(), deviation, torch.inf)
    return (values - mean) / scale, scale
