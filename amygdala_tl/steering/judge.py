"""From measurements to a report with verdicts. Pure: numbers in, records out."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.steering.arms import RANDOM_KINDS, ArmKind
from amygdala_tl.steering.measured import MeasuredAblation, MeasuredLayer, Measurements
from amygdala_tl.steering.records import (
    Ablation,
    CausalCrossTalk,
    DoseEffect,
    LayerSteering,
    SteeringPlan,
    SteeringReport,
)
from amygdala_tl.steering.settings import EraseMethod
from amygdala_tl.steering.significance import bootstrap_interval, holm_over_cells, pooled_p_values, slope, spearman
from amygdala_tl.steering.verdict import concept_verdict

Removed = Mapping[tuple[EraseMethod, tuple[int, ...], int], Ablation]
"""(method, layers, number of the concept) -> what taking it out there does."""


def judge(
    plan: SteeringPlan,
    model: str,
    measured: Measurements,
    words: Mapping[str, Sequence[str]],
    readable: Mapping[str, bool],
) -> SteeringReport:
    """All verdicts.

    Args:
        plan: what was checked.
        model: id of the model.
        measured: what was found.
        words: concept -> words that count.
        readable: concept -> whether its readout knows it on held-out texts.
    """
    layers = measured.layers
    t, p = _significance(layers)
    removed = ablation_effects(measured.ablations, plan.seed)
    by_layer = [_layer(plan, of, t[place], p[place], removed) for place, of in enumerate(layers)]
    concepts = tuple(
        concept_verdict(
            plan,
            concept,
            [of[place] for of in by_layer],
            words,
            readable,
            _at_several(plan, removed, place),
            [found for (_, _, of), found in removed.items() if of == place],
        )
        for place, concept in enumerate(plan.concepts)
    )
    first = layers[0].arms
    return SteeringReport(
        plan=plan,
        model=model,
        norms={layer: round(norm, 4) for layer, norm in measured.norms.items()},
        prompts=layers[0].words.shape[2],
        controls={kind: first.kinds.count(kind) for kind in dict.fromkeys(first.kinds) if kind != "concept"},
        concepts=concepts,
        crosstalk=tuple(
            _crosstalk(of, plan.doses[column + 1], column) for of in layers for column in range(len(plan.doses) - 1)
        ),
    )


def ablation_effects(measured: Sequence[MeasuredAblation], seed: int) -> Removed:
    """What taking each concept out does, with p-values corrected over all concepts and places of a method."""
    methods = dict.fromkeys(found.method for found in measured)
    return {
        key: ablation
        for method in methods
        for key, ablation in _effects_of([found for found in measured if found.method == method], seed).items()
    }


def _effects_of(measured: Sequence[MeasuredAblation], seed: int) -> dict[Any, Ablation]:
    fall = torch.stack([-found.words.mean(dim=1) for found in measured])  # [place, direction]
    _, p = pooled_p_values(fall[:, :1], fall[:, None, 1:])
    corrected = holm_over_cells(p)[:, 0]
    result = {}
    for place, found in enumerate(measured):
        low, high = bootstrap_interval(-found.words[0], torch.Generator().manual_seed(seed))
        result[found.method, found.layers, found.concept] = Ablation(
            layers=found.layers,
            texts=found.words.shape[1],
            fall=float(fall[place, 0]),
            low=_known(low),
            high=_known(high),
            random_mean=float(fall[place, 1:].mean()),
            random_deviation=float(fall[place, 1:].std()),
            p_value=_known(corrected[place]),
            reads_fall=None if found.reads is None else -float(found.reads[0]),
            reads_random=None if found.reads is None else -float(found.reads[1:].mean()),
            method=found.method,
            loss=_known(found.loss[0]),
            random_loss=_known(found.loss[1:].mean()),
            refits=found.refits,
        )
    return result


def _at_several(plan: SteeringPlan, removed: Removed, concept: int) -> tuple[Ablation | None, Ablation | None]:
    """The concept taken out at all layers of the plan, if there are several, and everywhere; by the first method."""
    first = plan.erase[0]
    everywhere = (
        found
        for (method, layers, of), found in removed.items()
        if (method, of) == (first, concept) and set(layers) > set(plan.layers)
    )
    together = removed.get((first, plan.layers, concept)) if len(plan.layers) > 1 else None
    return together, next(everywhere, None)


def _significance(layers: Sequence[MeasuredLayer]) -> tuple[Tensor, Tensor]:
    """t and corrected p of every concept's effect on its own words, [layer, concept, dose]: one test a concept."""
    found: list[Tensor] = []
    t = torch.empty(0)
    controls: tuple[tuple[ArmKind, ...], ...] = (RANDOM_KINDS, ("shuffled",))
    for kinds in controls:
        if layers[0].arms.rows(*kinds):
            cells = [_own_and_null(measured, kinds) for measured in layers]
            effect = rearrange([cell[0] for cell in cells], "layer concept dose -> concept (layer dose)")
            null = rearrange([cell[1] for cell in cells], "layer concept dose null -> concept (layer dose) null")
            scores, p = pooled_p_values(effect, null)
            t = scores if not found else t
            found.append(p)
    corrected = holm_over_cells(torch.stack(found).amax(dim=0))
    by_layer = "concept (layer dose) -> layer concept dose"
    return rearrange(t, by_layer, layer=len(layers)), rearrange(corrected, by_layer, layer=len(layers))


def _own_and_null(
    measured: MeasuredLayer, kinds: Sequence[ArmKind]
) -> tuple[Float[Tensor, "concept dose"], Float[Tensor, "concept dose null"]]:
    """Mean effect over prompts of every concept's direction on its own words, and of control directions on the same words."""
    effects = measured.words.mean(dim=2)
    own = measured.arms.rows("concept")
    mine = torch.stack([effects[row, :, place] for place, row in enumerate(own)])
    null = effects[measured.arms.rows(*kinds)]
    return mine, rearrange(null, "null dose concept -> concept dose null")


def _layer(plan: SteeringPlan, measured: MeasuredLayer, t: Tensor, p: Tensor, removed: Removed) -> list[LayerSteering]:
    """Every concept at one layer."""
    arms, doses = measured.arms, torch.tensor(plan.doses)
    own, random = arms.rows("concept"), arms.rows(*RANDOM_KINDS)
    mine = torch.stack([measured.words[row, :, :, place] for place, row in enumerate(own)])  # [concept, dose, prompt]
    low, high = bootstrap_interval(mine, torch.Generator().manual_seed(plan.seed))
    effects = mine.mean(dim=-1)
    null = measured.words[random].mean(dim=2)
    with_zero = torch.cat([effects.new_zeros(len(own), 1), effects], dim=1)
    ranks = spearman(doses, with_zero)
    reads = _reads(measured, doses[1:] * measured.norm)
    random_kl, random_loss = (values[random].nanmean(dim=0) for values in (measured.kl, measured.loss))
    result = []
    for place, row in enumerate(own):
        of_doses = tuple(
            DoseEffect(
                dose=plan.doses[column + 1],
                effect=float(effects[place, column]),
                low=float(low[place, column]),
                high=float(high[place, column]),
                wrong_way=float((mine[place, column] < 0).float().mean()),
                t=_known(t[place, column]),
                p_value=_known(p[place, column]),
                random_mean=float(null[:, column, place].mean()),
                random_deviation=float(null[:, column, place].std()),
                reads=None if reads is None else float(reads[0][place, column]),
                reads_beyond=None if reads is None else float(reads[1][place, column]),
                reads_random=None if reads is None else float(reads[2][place, column]),
                kl=float(measured.kl[row, column]),
                loss=float(measured.loss[row, column]),
                random_kl=float(random_kl[column]),
                random_loss=float(random_loss[column]),
                by_prompt=tuple(round(value, 6) for value in mine[place, column].tolist()),
            )
            for column in range(len(plan.doses) - 1)
        )
        broken = _breaks_at(plan, of_doses)
        sound = [dose for dose in of_doses if broken is None or dose.dose < broken]
        result.append(
            LayerSteering(
                layer=arms.layer,
                doses=of_doses,
                spearman=float(ranks[place]),
                slope=None if not sound else float(
                    slope(torch.tensor([dose.dose for dose in sound]), torch.tensor([dose.effect for dose in sound]))
                ),
                breaks_at=broken,
                ablation=removed.get((plan.erase[0], (arms.layer,), place)),
            )
        )  # fmt: skip
    return result


def _reads(measured: MeasuredLayer, amounts: Float[Tensor, " dose"]) -> tuple[Tensor, Tensor, Tensor] | None:
    """Shift of the own readout [concept, dose], the same without the added vector itself, deviation over random directions.

    Each half's directions are read by the other half's readouts.
    """
    arms, readers = measured.arms, measured.readers
    halves = [arms.rows("half 0"), arms.rows("half 1")]
    if readers is None or measured.reads is None or not halves[0]:
        return None
    totals, beyond = [], []
    for half, rows in enumerate(halves):
        other = 1 - half
        total = torch.stack([measured.reads[row, :, other, place] for place, row in enumerate(rows)])
        cosine = (arms.directions[rows] * readers.vectors[other]).sum(dim=-1) / readers.deviation[other]
        totals.append(total)
        beyond.append(total - cosine[:, None] * amounts)
    random = measured.reads[arms.rows(*RANDOM_KINDS)].mean(dim=2).std(dim=0)
    return torch.stack(totals).mean(dim=0), torch.stack(beyond).mean(dim=0), rearrange(random, "dose c -> c dose")


def _breaks_at(plan: SteeringPlan, doses: Sequence[DoseEffect]) -> float | None:
    """The smallest dose with too much damage, or with less effect than the dose before it."""
    before = 0.0
    for dose in doses:
        if not dose.loss <= plan.most_loss or dose.effect < before:
            return dose.dose
        before = max(0.0, dose.effect)
    return None


def _crosstalk(measured: MeasuredLayer, dose: float, column: int) -> CausalCrossTalk:
    """Effect of every concept's direction on all concepts' words, with p against random directions."""
    effects = measured.words[:, column].mean(dim=1)
    own = effects[measured.arms.rows("concept")]
    null = rearrange(effects[measured.arms.rows(*RANDOM_KINDS)], "null concept -> concept null")
    _, p = pooled_p_values(own[..., None], null.expand(len(own), -1, -1)[:, :, None])
    return CausalCrossTalk(
        layer=measured.arms.layer,
        dose=dose,
        effect=tuple(tuple(round(value, 4) for value in row) for row in own.tolist()),
        p_value=tuple(tuple(_known(value) for value in row) for row in p[..., 0]),
    )


def _known(value: Tensor) -> float | None:
    return float(value) if bool(value.isfinite()) else None
