"""Separation of every concept's classes at every layer, and the choice of layers to read.

Base the choices on scores of training folds (`cross_fit`), never on held-out texts.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.diagnostics.intervals import REPLICATES, auroc_interval, d_prime_interval, fisher_ratio_interval
from amygdala_tl.diagnostics.records import Interval, LayerSeparation
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.directions.data import LabelledTexts
from amygdala_tl.errors import InputError

SMOOTHING = 2
"""Distance at which a layer has no weight in another one's mean. The weight falls linearly with distance."""

STANDARD_ERRORS = 1.0
"""Number of standard errors by which a concept's own layer must beat the common one."""


def layer_separation(
    scores: Float[Tensor, "layer text concept"],
    data: LabelledTexts,
    concepts: Sequence[str],
    layers: Sequence[int],
    of: Literal["training folds", "held-out texts"],
    seed: int = 0,
    replicates: int = REPLICATES,
) -> LayerSeparation:
    """Compute AUROC, d' and Fisher ratio of every concept at every layer, with 95% intervals over groups (see `intervals`).

    Args:
        scores: of texts that the directions were not fitted on; NaN for a concept that could not be fitted.
        data: labels and groups of these texts.
        concepts, layers: names of the axes.
        of: source of the scores.
        seed: of the bootstrap; layers share the replicates, so that they can be compared.
        replicates: their number.
    """
    cross_fitted = of == "training folds"
    texts = [ScoredTexts(layer, data.positive, data.negative, data.groups, cross_fitted) for layer in scores]

    def at_each_layer(make: Callable[[ScoredTexts, torch.Generator, int], Interval]) -> Interval:
        found = [make(layer, torch.Generator().manual_seed(seed), replicates) for layer in texts]
        return Interval(*(torch.stack([getattr(one, end) for one in found]) for end in ("value", "low", "high")))

    d_prime = at_each_layer(d_prime_interval)
    known = texts[0].without_unscored()
    return LayerSeparation(
        concepts=tuple(concepts),
        layers=tuple(layers),
        auroc=at_each_layer(auroc_interval),
        d_prime=d_prime,
        fisher_ratio=fisher_ratio_interval(d_prime),
        n_positive=known.positive.sum(dim=0),
        n_negative=known.negative.sum(dim=0),
        of=of,
    )


def best_layers(separation: LayerSeparation, slots: int) -> tuple[int, ...]:
    """Choose the best layers for a number of slots, in rising order.

    Layers are chosen one after another. Each raises the AUROC at every concept's best chosen layer, averaged over concepts, as
    much as possible; of equal ones the shallower wins. The AUROC is smoothed over adjacent layers (`SMOOTHING`), because the best
    of many noisy layers is partly luck.

    Args:
        separation: of training folds.
        slots: number of layers to choose, at least 1.

    Raises:
        InputError: `slots` is below 1.
    """
    if slots < 1:
        raise InputError(
            "no layer can be chosen", got=f"{slots} slots", need="at least 1", remedy="ask for one or more"
        )
    table = smoothed_over_layers(separation.auroc.value, separation.layers)
    table = table[:, table.isfinite().all(dim=0)]
    chosen: list[int] = []
    reached = torch.full((table.shape[1],), -torch.inf, dtype=table.dtype)
    for _ in range(min(slots, len(table))):
        gains = torch.maximum(table, reached).mean(dim=1) if table.shape[1] else torch.zeros(len(table))
        # Rounded, so that ties go to the shallower layer and not to rounding error.
        ranked = sorted((-round(float(gain), 9), layer) for layer, gain in enumerate(gains) if layer not in chosen)
        chosen.append(ranked[0][1])
        reached = torch.maximum(reached, table[chosen[-1]])
    return tuple(sorted(separation.layers[layer] for layer in chosen))


def reading_layers(separation: LayerSeparation) -> Int[Tensor, " concept"]:
    """Choose the layer index to read each concept at.

    It is the layer with the best AUROC averaged over concepts, unless the concept's own best layer beats it by more than
    `STANDARD_ERRORS` standard errors of the concept's AUROC (a quarter of its interval). With 10 positive texts the best of 30
    layers is mostly noise, unlike the average over concepts. Both are smoothed over adjacent layers; of equal ones the shallower
    wins.

    Args:
        separation: of training folds.
    """
    table = smoothed_over_layers(separation.auroc.value, separation.layers)
    known = table.isfinite().all(dim=0)
    common = int(table[:, known].mean(dim=1).argmax()) if bool(known.any()) else 0
    own = table.nan_to_num(nan=-torch.inf).argmax(dim=0)
    error = (separation.auroc.high - separation.auroc.low) / (2 * 1.96)
    place = rearrange(own, "concept -> 1 concept")
    gain = table.gather(0, place)[0] - table[common]
    better = gain > STANDARD_ERRORS * error.gather(0, place)[0]
    return torch.tensor(separation.layers)[torch.where(better & known, own, common)]


def smoothed_over_layers(
    values: Float[Tensor, "layer concept"], layers: Sequence[int]
) -> Float[Tensor, "layer concept"]:
    """Average each layer with the adjacent ones: 1/4, 1/2, 1/4, or 2/3, 1/3 if there is only one.

    A layer without captured neighbours keeps its value: a mean with distant layers would hide a peak.
    """
    depth = torch.tensor(layers, dtype=values.dtype)
    distance = (rearrange(depth, "layer -> layer 1") - rearrange(depth, "other -> 1 other")).abs()
    weight = (1 - distance / SMOOTHING).clamp(min=0)
    return einsum(weight / weight.sum(dim=1, keepdim=True), values, "layer other, other concept -> layer concept")
