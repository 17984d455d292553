"""Losses of many linear regressions at once, and the class weights they are fitted with.

The objective is scikit-learn's: sum_i s_i * loss(y_i, f(x_i)) with weights s_i that hold the strength C, plus a penalty.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from amygdala_tl.directions.design import Design

Elementwise = Callable[
    [Float[Tensor, "problem text"], Float[Tensor, "problem text"]],
    tuple[Float[Tensor, "problem text"], Float[Tensor, "problem text"]],
]
"""Scores, targets -> two values a score."""

Curvature = Callable[[Float[Tensor, "problem text"], Float[Tensor, "problem text"]], Float[Tensor, "problem text"]]
"""Scores, targets -> second derivative."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A convex loss of a score and a target.

    Attributes:
        value_and_slope: the loss and its derivative by the score.
        curvature: its second derivative.
    """

    value_and_slope: Elementwise
    curvature: Curvature


def _logistic(
    scores: Float[Tensor, "problem text"], targets: Float[Tensor, "problem text"]
) -> tuple[Float[Tensor, "problem text"], Float[Tensor, "problem text"]]:
    against = -targets * scores
    return F.softplus(against), -targets * torch.sigmoid(against)


def _logistic_curvature(
    scores: Float[Tensor, "problem text"], targets: Float[Tensor, "problem text"]
) -> Float[Tensor, "problem text"]:
    probability = torch.sigmoid(scores)
    return probability * (1.0 - probability)


LOGISTIC = Loss(_logistic, _logistic_curvature)
"""log(1 + exp(-y f)) with y = +1 or -1."""

SQUARED = Loss(
    lambda scores, targets: (0.5 * (scores - targets).square(), scores - targets),
    lambda scores, targets: torch.ones_like(scores),
)
"""(f - y)^2 / 2."""


@dataclass(frozen=True, slots=True)
class Problems:
    """Regressions that are fitted together.

    Attributes:
        design: their rows.
        loss: of a score and a target.
        targets: [problem, text].
        weights: [problem, text], how much a row's loss counts: strength times class weight, 0 for a row left out.
        penalty: [feature], how much a feature's weight is penalised: 1, or 0 for an intercept.
    """

    design: Design
    loss: Loss
    targets: Float[Tensor, "problem text"]
    weights: Float[Tensor, "problem text"]
    penalty: Float[Tensor, " feature"]

    def keep(self, problems: Bool[Tensor, " problem"]) -> "Problems":
        """Some of them."""
        return Problems(
            self.design.keep(problems), self.loss, self.targets[problems], self.weights[problems], self.penalty
        )

    def loss_and_slopes(
        self, scores: Float[Tensor, "problem text"]
    ) -> tuple[Float[Tensor, " problem"], Float[Tensor, "problem text"]]:
        """Weighted loss of every problem, and its derivative by every score."""
        values, slopes = self.loss.value_and_slope(scores, self.targets)
        return (self.weights * values).sum(dim=-1), self.weights * slopes

    def curvatures(self, scores: Float[Tensor, "problem text"]) -> Float[Tensor, "problem text"]:
        """Second derivative of the weighted loss by every score."""
        return self.weights * self.loss.curvature(scores, self.targets)


@dataclass(frozen=True, slots=True)
class Task:
    """The regressions of all concepts on one layer's rows, with an intercept.

    Attributes:
        design: shared rows, whose last feature is 1.
        loss: of a score and a target.
        targets: [text, concept].
        positive, negative: labels.
        groups: equal for texts that no fold may cut.
        known: [text, concept], texts that count alike for a concept; None for labelled texts with balanced classes.
    """

    design: Design
    loss: Loss
    targets: Float[Tensor, "text concept"]
    positive: Bool[Tensor, "text concept"]
    negative: Bool[Tensor, "text concept"]
    groups: Int[Tensor, " text"]
    known: Bool[Tensor, "text concept"] | None = None

    def of(self, concepts: Int[Tensor, " chosen"]) -> "Task":
        """The regressions of some concepts."""
        known = None if self.known is None else self.known[:, concepts]
        targets, positive, negative = (each[:, concepts] for each in (self.targets, self.positive, self.negative))
        return replace(self, targets=targets, positive=positive, negative=negative, known=known)

    def weights(self, used: Bool[Tensor, " text"]) -> Float[Tensor, "concept text"]:
        """How much every text counts for every concept if only some texts are used."""
        rows = rearrange(used, "text -> text 1")
        if self.known is None:
            return balanced_weights(self.positive & rows, self.negative & rows, self.targets.dtype)
        return rearrange((self.known & rows).to(self.targets.dtype), "text concept -> concept text")

    def problems(self, weights: Float[Tensor, "problem text"]) -> Problems:
        """Problems with these weights of the rows: all concepts, or all concepts of one fold after the other."""
        penalty = torch.ones_like(self.design.rows[0])
        penalty[-1] = 0.0
        folds = len(weights) // self.targets.shape[1]
        targets = repeat(self.targets, "text concept -> (fold concept) text", fold=folds)
        return Problems(self.design, self.loss, targets, weights, penalty)


def signs(positive: Bool[Tensor, "text concept"], dtype: torch.dtype) -> Float[Tensor, "text concept"]:
    """+1 for positives, -1 for all others."""
    return torch.where(positive, 1.0, -1.0).to(dtype)


def balanced_weights(
    positive: Bool[Tensor, "text concept"], negative: Bool[Tensor, "text concept"], dtype: torch.dtype
) -> Float[Tensor, "concept text"]:
    """scikit-learn's `class_weight="balanced"`: n / (2 n_class) for the n labelled texts of a concept, 0 for other texts.

    Both classes then weigh n / 2. All weights of a concept with an empty class are 0.
    """
    labels = rearrange(torch.stack([positive, negative]).to(dtype), "polarity text concept -> polarity concept text")
    counts = labels.sum(dim=-1, keepdim=True)
    both = (counts > 0).all(dim=0)
    weights = torch.where(both, counts.sum(dim=0) / (2.0 * counts.clamp_min(1.0)), 0.0)
    return (weights * labels).sum(dim=0)
