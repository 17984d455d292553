"""Many linear regressions at once: their losses, class weights and penalties.

The objective is scikit-learn's: sum_i s_i * loss(y_i, f(x_i)), with the strength C in the weights s_i, plus a penalty.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from amygdala_tl.directions.design import Design

_Table = Float[Tensor, "problem text"]


@dataclass(frozen=True, slots=True)
class Loss:
    """A convex loss of a score and a target.

    Attributes:
        value_and_slope: scores, targets -> loss and its derivative by the score.
        curvature: scores, targets -> its second derivative.
    """

    value_and_slope: Callable[[_Table, _Table], tuple[_Table, _Table]]
    curvature: Callable[[_Table, _Table], _Table]


def _logistic(scores: _Table, targets: _Table) -> tuple[_Table, _Table]:
    against = -targets * scores
    return F.softplus(against), -targets * torch.sigmoid(against)


LOGISTIC = Loss(_logistic, lambda scores, targets: (share := torch.sigmoid(scores)) * (1.0 - share))
"""log(1 + exp(-y f)) with y = +1 or -1."""

SQUARED = Loss(
    lambda scores, targets: (0.5 * (scores - targets).square(), scores - targets),
    lambda scores, targets: torch.ones_like(scores),
)
"""(f - y)^2 / 2."""


@dataclass(frozen=True, slots=True)
class Problems:
    """Regressions to fit together.

    Attributes:
        design: their rows.
        loss: of a score and a target.
        targets: [problem, text].
        weights: [problem, text] of the rows' losses: strength times class weight, 0 for a row that does not count.
        penalty: [feature], 1, or 0 for an unpenalised intercept.
    """

    design: Design
    loss: Loss
    targets: _Table
    weights: _Table
    penalty: Float[Tensor, " feature"]

    def keep(self, problems: Bool[Tensor, " problem"]) -> "Problems":
        """Keep some problems."""
        design, targets, weights = self.design.keep(problems), self.targets[problems], self.weights[problems]
        return Problems(design, self.loss, targets, weights, self.penalty)

    def loss_and_slopes(self, scores: _Table) -> tuple[Float[Tensor, " problem"], _Table]:
        """Compute the weighted loss of every problem, and its derivative by every score."""
        values, slopes = self.loss.value_and_slope(scores, self.targets)
        return (self.weights * values).sum(dim=-1), self.weights * slopes

    def value_and_gradient(
        self, point: Float[Tensor, "problem feature"], scores: _Table
    ) -> tuple[Float[Tensor, " problem"], Float[Tensor, "problem feature"]]:
        """Compute every problem's loss + sum_j penalty_j w_j^2 / 2, and its gradient, from the weights and their scores."""
        loss, slopes = self.loss_and_slopes(scores)
        penalised = self.penalty * point
        return loss + 0.5 * (penalised * point).sum(dim=-1), self.design.pull(slopes) + penalised

    def curvatures(self, scores: _Table) -> _Table:
        """Compute the second derivative of the weighted loss by every score."""
        return self.weights * self.loss.curvature(scores, self.targets)


@dataclass(frozen=True, slots=True)
class Task:
    """The regressions of all concepts on one layer's rows, with an intercept.

    Attributes:
        design: shared rows; their last feature is 1.
        loss: of a score and a target.
        targets: [text, concept].
        positive, negative: labels.
        groups: equal for texts that must share a fold.
        known: [text, concept], texts that count, all with the same weight; None for labelled texts with balanced classes.
    """

    design: Design
    loss: Loss
    targets: Float[Tensor, "text concept"]
    positive: Bool[Tensor, "text concept"]
    negative: Bool[Tensor, "text concept"]
    groups: Int[Tensor, " text"]
    known: Bool[Tensor, "text concept"] | None = None

    def of(self, concepts: Int[Tensor, " chosen"]) -> "Task":
        """Keep the regressions of some concepts."""
        known = None if self.known is None else self.known[:, concepts]
        targets, positive, negative = (each[:, concepts] for each in (self.targets, self.positive, self.negative))
        return replace(self, targets=targets, positive=positive, negative=negative, known=known)

    def weights(self, used: Bool[Tensor, " text"]) -> Float[Tensor, "concept text"]:
        """Compute the weight of every text for every concept, 0 for texts that are not used."""
        rows = rearrange(used, "text -> text 1")
        if self.known is None:
            return balanced_weights(self.positive & rows, self.negative & rows, self.targets.dtype)
        return rearrange((self.known & rows).to(self.targets.dtype), "text concept -> concept text")

    def problems(self, weights: _Table) -> Problems:
        """Make problems with these weights of the rows: all concepts, or all concepts of one fold after another."""
        penalty = torch.ones_like(self.design.rows[0])
        penalty[-1] = 0.0
        folds = len(weights) // self.targets.shape[1]
        targets = repeat(self.targets, "text concept -> (fold concept) text", fold=folds)
        return Problems(self.design, self.loss, targets, weights, penalty)


def balanced_weights(
    positive: Bool[Tensor, "text concept"], negative: Bool[Tensor, "text concept"], dtype: torch.dtype
) -> Float[Tensor, "concept text"]:
    """Compute scikit-learn's `class_weight="balanced"`: n / (2 n_class) for the n labelled texts of a concept, 0 for other texts.

    Both classes then weigh n / 2. All weights of a concept with an empty class are 0.
    """
    labels = rearrange(torch.stack([positive, negative]).to(dtype), "polarity text concept -> polarity concept text")
    counts = labels.sum(dim=-1, keepdim=True)
    both = (counts > 0).all(dim=0)
    weights = torch.where(both, counts.sum(dim=0) / (2.0 * counts.clamp_min(1.0)), 0.0)
    return (weights * labels).sum(dim=0)
