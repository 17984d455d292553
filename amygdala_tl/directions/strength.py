"""Choice of a penalty's strength: cross-validation over groups, one choice for all concepts of a layer.

A strength is scikit-learn's C, the weight of the data against the penalty: *larger is a weaker penalty*. A concept with 10 to
30 positive texts has two to six of them in a fold, so that noise would choose its own best strength. The mean over concepts is
steady, and they share the choice: the strength itself, or a multiple of the strength at which each concept's vector becomes
non-zero. A few concepts judge for all, which is as steady and costs no more for many concepts. The criterion is held-out AUROC,
because a readout ranks texts. AUROC depends neither on the vector's length nor on class weights.
"""

from collections.abc import Callable, Sequence

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.design import Design
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.problems import Problems, Task
from amygdala_tl.errors import InputError

Strength = float | Sequence[float] | None
"""One strength, one for each layer, or None for what cross-validation chooses."""

N_FOLDS = 5

JUDGES = 16
"""Number of concepts to average the held-out AUROC over: with five folds, 80 fits for each strength."""

FALLEN = 0.01
"""The path from strong to weak penalties ends when the AUROC has fallen this far below its best."""

FOUND = 0.6
"""Best AUROC below which the path goes on: near chance, noise makes it fall before a weak enough penalty finds anything."""


def of_layers(strength: Strength, n_layers: int) -> list[float | None]:
    """Return the strength of each layer; raises InputError if there is another number of them."""
    if not isinstance(strength, Sequence):
        return [strength] * n_layers
    if len(strength) != n_layers:
        need = f"{n_layers}, one for each layer"
        raise InputError(
            "the strengths do not fit the layers", got=len(strength), need=need, remedy="check their number"
        )
    return list(strength)


Solve = Callable[[Problems, Float[Tensor, "problem feature"] | None], tuple[Float[Tensor, "problem feature"], int]]
"""Problems, start -> their solutions, and how many did not converge."""


def choose_strength(
    task: Task, solve: Solve, strengths: Float[Tensor, "strength concept"], *, default: int, widest: float = torch.inf
) -> tuple[int, list[float]]:
    """Find the strength with the best held-out AUROC, averaged over folds and concepts. Of equal ones the stronger penalty wins.

    All folds are fitted together, because a fold is a weight of 0. Each strength starts from the solution of the one before.

    Args:
        task: regressions to fit.
        solve: their solver.
        strengths: ascending candidates of every concept.
        default: index of the candidate to use if no fold can be scored.
        widest: the path ends when vectors have more non-zero weights than this on average.

    Returns:
        The index of the chosen strength, and the mean held-out AUROC of every strength tried, strongest penalty first; none if
        no fold can be scored.
    """
    n_folds = min(N_FOLDS, len(torch.unique(task.groups)))
    if n_folds < 2:
        return default, []
    judges = _judges(task)
    task, strengths = task.of(judges), strengths[:, judges]
    fold = group_folds(task.groups, n_folds)
    weights = torch.cat([task.weights(fold != held_out) for held_out in range(n_folds)])
    solution = None
    means: list[float] = []
    for candidate in strengths:
        each = repeat(candidate, "concept -> (fold concept) 1", fold=n_folds)
        solution, _ = solve(task.problems(weights * each), solution)
        of_fold = rearrange(solution, "(fold concept) feature -> fold concept feature", fold=n_folds)
        means.append(_held_out_auroc(task, of_fold, fold))
        fallen = means[-1] < (best := max(means)) - FALLEN and best > FOUND
        if fallen or float((solution != 0).sum(dim=-1).float().mean()) > widest:
            break
    if not all(value == value for value in means):  # no fold holds both classes of any concept
        return default, []
    return means.index(max(means)), means


def _judges(task: Task) -> Int[Tensor, " chosen"]:
    """Choose concepts evenly spaced by their numbers of positives, so that rare and common ones both count."""
    order = task.positive.sum(dim=0).argsort(stable=True)
    if len(order) <= JUDGES:
        return order
    return order[torch.linspace(0, len(order) - 1, JUDGES, device=order.device).round().long()]


def _held_out_auroc(task: Task, solution: Float[Tensor, "fold concept feature"], fold: Int[Tensor, " text"]) -> float:
    """Average the AUROC over folds and concepts, with each fold scored on its own."""
    found = []
    for held_out, weights in enumerate(solution):
        texts = fold == held_out
        scores = rearrange(Design(task.design.rows[texts]).scores(weights), "concept text -> text concept")
        found.append(auroc(scores, task.positive[texts], task.negative[texts]))
    return float(torch.stack(found).nanmean())
