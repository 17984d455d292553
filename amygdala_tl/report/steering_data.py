"""A run of the causal check as the values that the page's scripts read.

Figures show the first seed: the concepts' own effects are the same with every seed, only what they are held against is drawn
again. The table shows what all seeds say.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from amygdala_tl.report.page_data import number, packed
from amygdala_tl.steering.records import Ablation, CausalCrossTalk, ConceptSteering, DoseEffect, SteeringReport
from amygdala_tl.steering.results import SteeringRun
from amygdala_tl.steering.summary import ConceptSummary, summarise

P_STEP = 0.01

EFFECTS = {
    "effect": "effect", "low": "low", "high": "high", "wrongWay": "wrong_way", "t": "t", "p": "p_value",
    "randomMean": "random_mean", "randomDeviation": "random_deviation", "reads": "reads", "readsBeyond": "reads_beyond",
    "kl": "kl", "loss": "loss", "randomKl": "random_kl", "randomLoss": "random_loss",
}  # fmt: skip
"""Name in the page's data -> attribute of `DoseEffect`."""


def steering_data(run: SteeringRun) -> dict[str, Any]:
    """Everything the steering sections show, as JSON-ready values; NaN and infinities become None."""
    report, summaries = run.reports[0], summarise(run.reports)
    return {
        "concepts": list(report.plan.concepts),
        "layers": list(report.plan.layers),
        "doses": [dose for dose in report.plan.doses if dose > 0],
        "prompts": report.prompts,
        "mostLoss": report.plan.most_loss,
        "level": report.plan.level,
        "seeds": [each.plan.seed for each in run.reports],
        "summary": [
            _summary(found, [each.concepts[place] for each in run.reports]) for place, found in enumerate(summaries)
        ],
        "effects": {name: _cells(report.concepts, attribute) for name, attribute in EFFECTS.items()},
        "breaksAt": [[of.breaks_at for of in found.layers] for found in report.concepts],
        "spearman": [[_known(of.spearman) for of in found.layers] for found in report.concepts],
        "ablations": _ablations(report),
        "crosstalk": [_crosstalk(found) for found in report.crosstalk],
        "samples": [asdict(sample) for sample in run.samples],
    }


def _summary(found: ConceptSummary, seeds: Sequence[ConceptSteering]) -> dict[str, Any]:
    at = found.at
    said = next((each for each in seeds if each.verdict == found.verdict), seeds[0])
    return {
        "verdict": found.verdict,
        "reason": said.reason,
        "steersIn": found.steers_in,
        "recommended": found.recommended,
        "layer": found.layer,
        "dose": at.dose,
        **{name: _known(getattr(at, attribute)) for name, attribute in EFFECTS.items()},
        "words": list(seeds[0].words),
        "fall": None if found.ablation[0] is None else number(found.ablation[0].fall),
        "fallP": None if found.ablation[0] is None else _known(found.ablation[0].p_value),
    }


def _cells(concepts: Sequence[ConceptSteering], attribute: str) -> list[list[list[float | None]]]:
    """[concept][layer][dose]."""

    def value(at: DoseEffect) -> float | None:
        return _known(getattr(at, attribute))

    return [[[value(at) for at in of.doses] for of in found.layers] for found in concepts]


def _ablations(report: SteeringReport) -> list[dict[str, Any]]:
    """One entry a place at which something was taken out."""
    places: list[tuple[str, list[Ablation | None]]] = [
        (f"layer {layer}", [found.layers[place].ablation for found in report.concepts])
        for place, layer in enumerate(report.plan.layers)
    ]
    places += [
        ("all these layers together", [found.ablation_together for found in report.concepts]),
        ("every layer of the model", [found.ablation_everywhere for found in report.concepts]),
    ]
    entries = []
    for name, found in places:
        if known := [each for each in found if each is not None]:
            entries.append(
                {
                    "name": name,
                    "layers": list(known[0].layers),
                    "texts": [None if each is None else each.texts for each in found],
                    **{
                        key: [None if each is None else _known(getattr(each, attribute)) for each in found]
                        for key, attribute in REMOVED.items()
                    },
                }
            )
    return entries


REMOVED = {
    "fall": "fall", "low": "low", "high": "high", "p": "p_value", "randomMean": "random_mean",
    "randomDeviation": "random_deviation",
}  # fmt: skip


def _crosstalk(found: CausalCrossTalk) -> dict[str, Any]:
    """Effects in 127 steps of the largest; p in steps of a hundredth."""
    effect = torch.tensor(found.effect, dtype=torch.float64)
    most = max((abs(value) for row in found.effect for value in row if value == value), default=0.0)
    p = torch.tensor([[float("nan") if value is None else value for value in row] for row in found.p_value])
    return {
        "layer": found.layer,
        "dose": found.dose,
        "most": number(most),
        "effect": packed(effect, most / 127 or 1.0),
        "p": packed(p, P_STEP),
    }


def _known(value: float | None) -> float | None:
    return None if value is None else number(value)
