"""How strong a penalty should be: cross-validation over groups, one choice for all concepts of a layer.

A strength is scikit-learn's C, the weight of the data against the penalty: *larger is a weaker penalty*. A concept with 10
to 30 positive texts has two to six of them in a fold; its own best strength would be chosen by noise. The mean over concepts
is steady, so they share the choice: the value itself, or its multiple of the value at which each concept's vector
becomes non-zero. A few concepts judge for all, which is as steady and does not grow with their number. The score is held-out
AUROC, because a readout ranks texts; it does not depend on the vector's length or on class weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.problems import Problems, Task
from amygdala_tl.directions.design import Design
from amygdala_tl.directions.folds import group_folds

N_FOLDS = 5

JUDGES = 16
"""Concepts whose held-out AUROC is averaged: with five folds, 80 fits a strength."""

FALLEN = 0.01
"""The path from strong to weak penalties ends where the AUROC has fallen this far below its best."""

Solve = Callable[[Problems, Float[Tensor, "problem feature"] | None], Float[Tensor, "problem feature"]]
"""Problems, where to start -> their solutions."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A strength and why.

    Attributes:
        index: of the chosen strength.
        auroc: mean held-out AUROC of every strength that was tried, strongest penalty first; empty if the texts could not
            be cut into folds.
    """

    index: int
    auroc: Sequence[float]


def choose_strength(
    task: Task,
    solve: Solve,
    strengths: Float[Tensor, "strength concept"],
    *,
    default: int,
    widest: float = float("inf"),
) -> Choice:
    """The strength with the best held-out AUROC, averaged over folds and concepts; the stronger penalty of equal ones.

    All folds are fitted together, since a fold is a weight of 0, and each strength starts from the one before.

    Args:
        task: what is fitted.
        solve: how.
        strengths: ascending candidates of every concept.
        default: index of the candidate to use where no fold can be scored.
        widest: the path ends where vectors have more non-zero weights than this on average.
    """
    n_folds = min(N_FOLDS, len(torch.unique(task.groups)))
    if n_folds < 2:
        return Choice(default, [])
    judges = _judges(task)
    task, strengths = task.of(judges), strengths[:, judges]
    fold = group_folds(task.groups.cpu(), n_folds).to(task.groups.device)
    weights = torch.cat([task.weights(fold != held_out) for held_out in range(n_folds)])
    solution = None
    means: list[float] = []
    for candidate in strengths:
        each = repeat(candidate, "concept -> (fold concept) 1", fold=n_folds)
        solution = solve(task.problems(weights * each), solution)
        means.append(
            _held_out_auroc(task, rearrange(solution, "(fold concept) w -> fold concept w", fold=n_folds), fold)
        )
        if means[-1] < max(means) - FALLEN or float((solution != 0).sum(dim=-1).float().mean()) > widest:
            break
    if not all(value == value for value in means):  # no fold holds both classes of any concept
        return Choice(default, [])
    return Choice(means.index(max(means)), means)


def _judges(task: Task) -> Int[Tensor, " chosen"]:
    """Concepts evenly spaced in the order of their numbers of positives, so that rare and common ones both have a say."""
    order = task.positive.sum(dim=0).argsort(stable=True)
    if len(order) <= JUDGES:
        return order
    return order[torch.linspace(0, len(order) - 1, JUDGES, device=order.device).round().long()]


def _held_out_auroc(task: Task, solution: Float[Tensor, "fold concept feature"], fold: Int[Tensor, " text"]) -> float:
    """Mean over folds and concepts, each fold scored on its own."""
    found = []
    for held_out, weights in enumerate(solution):
        texts = fold == held_out
        scores = rearrange(Design(task.design.rows[texts]).scores(weights), "concept text -> text concept")
        found.append(auroc(scores, task.positive[texts], task.negative[texts]))
    return float(torch.stack(found).nanmean())
