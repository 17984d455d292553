"""Choice among methods by cross-validation: the one with the best AUROC on groups of texts that it was not fitted on.

Methods of `STRENGTH_OPTIONS` take part with the strengths that cross-validation on the same folds chooses, as in a grid search
over methods and strengths, so their AUROC is a little too high. Strengths chosen anew without each fold, as `logistic_l1` still
chooses its own, would take twice as long.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.method import STRENGTH_OPTIONS, Method, apply_method, read_method
from amygdala_tl.errors import FitError

N_FOLDS = 5

CANDIDATES = tuple(map(read_method, ("mean", "mean + neutral-pca", "joint", "linear")))
"""Methods that `auto` compares."""


def choose_method(
    data: LabelledActivations,
    neutral: Float[Tensor, "neutral layer d_model"],
    candidates: Sequence[Method] = CANDIDATES,
    n_folds: int = N_FOLDS,
) -> tuple[Method, list[dict[str, Any]]]:
    """Find the candidate with the best AUROC on held-out groups, averaged over folds, concepts and layers.

    Args:
        data: training texts only.
        neutral: neutral training texts, for denoisers that need them.
        candidates: at least one that can be fitted.
        n_folds: at least 2; there are never more folds than groups.

    Returns:
        The best candidate, and a table of all, with the reason for those that cannot be fitted.

    Raises:
        FitError: no candidate can be fitted.
    """
    fold = group_folds(data.groups, max(2, min(n_folds, len(torch.unique(data.groups)))))
    table: list[dict[str, Any]] = []
    best, best_score = None, -1.0
    for method in candidates:
        try:
            found = held_out_aurocs(method, data, neutral, fold)
        except FitError as reason:
            table.append({"method": str(method), "failed": str(reason)})
            continue
        by_layer, by_concept = _by_layer(found), found.nanmean(dim=1).nanmean(dim=0)
        score = float(by_layer.mean())
        layers, concepts = ([round(value, 4) for value in each.tolist()] for each in (by_layer, by_concept))
        concepts = [value if value == value else None for value in concepts]
        row = {"auroc": round(score, 4), "auroc_by_layer": layers, "auroc_by_concept": concepts}
        table.append({"method": str(method), **row})
        if score > best_score:
            best, best_score = method, score
    if best is None:
        raise FitError("no method could be fitted", got=table[0]["failed"], remedy="name an aggregator")
    return best, table


def held_out_aurocs(
    method: Method,
    data: LabelledActivations,
    neutral: Float[Tensor, "neutral layer d_model"],
    fold: Int[Tensor, " text"],
) -> Float[Tensor, "fold layer concept"]:
    """Compute the AUROC on each fold with directions of the other folds; NaN where a fold or the others lack a class.

    Args:
        method, data, neutral: as in `choose_method`.
        fold: of each text, 0 and up; no fold cuts a group.

    Raises:
        FitError: the method cannot be fitted without a fold, or no fold holds both classes of any concept.
    """
    options = _strengths(method, data, neutral, fold)
    table = torch.full((int(fold.max()) + 1, data.n_layers, data.positive.shape[1]), torch.nan, dtype=torch.float64)
    for held_out, of_fold in enumerate(table):
        kept = data.take(fold != held_out)
        if not (usable := kept.complete()).any():
            continue
        left = data.take(fold == held_out).of_concepts(usable)
        scores = left.scores(apply_method(method, kept.of_concepts(usable), neutral, **options).directions)
        of_fold[:, usable] = torch.stack([auroc(layer, left.positive, left.negative) for layer in scores])
    if _by_layer(table).isnan().any():
        raise FitError("no fold holds both classes of any concept", remedy="label more texts, or name an aggregator")
    return table


def _strengths(
    method: Method,
    data: LabelledActivations,
    neutral: Float[Tensor, "neutral layer d_model"],
    fold: Int[Tensor, " text"],
) -> dict[str, Any]:
    """Choose each layer's strength by cross-validation on these folds, as an option of the estimator, if it has one."""
    name, usable = STRENGTH_OPTIONS.get(method.aggregator), data.complete()
    if name is None or not usable.any():
        return {}
    return {name: apply_method(method, data.of_concepts(usable), neutral, folds=fold).estimator[name]}


def _by_layer(table: Float[Tensor, "fold layer concept"]) -> Float[Tensor, " layer"]:
    """Average over concepts and then over folds."""
    mean: Tensor = table.nanmean(dim=2).nanmean(dim=0)
    return mean
