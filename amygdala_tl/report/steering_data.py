"""A run of the causal check as the values that the page's scripts read; `web/report/types.d.ts` describes them.

The table and the figure of seeds are of all seeds, the other figures of the first one. A concept's own effects are the same with
every seed; only the controls are drawn again.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from amygdala_tl.report.figures import ablation_figures, seeds_figure
from amygdala_tl.report.packing import camel, packed, plain
from amygdala_tl.steering.records import CausalCrossTalk, ConceptSteering
from amygdala_tl.steering.results import SteeringRun
from amygdala_tl.steering.summary import ConceptSummary, summarise

P_STEP = 0.01

BY_DOSE = ("effect", "low", "high", "p_value", "random_mean", "random_deviation", "loss", "random_loss")
"""Attributes of `DoseEffect` for every layer and dose."""

AT_BEST = (*BY_DOSE, "wrong_way", "t", "reads", "reads_beyond", "kl")
"""The same at a concept's recommended layer and dose."""


def steering_data(run: SteeringRun) -> dict[str, Any]:
    """Return everything that the steering sections show, ready for JSON; NaN and infinities become None."""
    report, summaries = run.reports[0], summarise(run.reports)
    by_layer = [found.layers for found in report.concepts]
    return {
        "concepts": list(report.plan.concepts),
        "layers": list(report.plan.layers),
        "doses": [dose for dose in report.plan.doses if dose > 0],
        "mostLoss": report.plan.most_loss,
        "seeds": [each.plan.seed for each in run.reports],
        "summary": [
            _summary(found, [each.concepts[place] for each in run.reports]) for place, found in enumerate(summaries)
        ],
        "effects": {
            camel(name): plain([[[getattr(at, name) for at in of.doses] for of in layers] for layers in by_layer])
            for name in BY_DOSE
        },
        "breaksAt": [[of.breaks_at for of in layers] for layers in by_layer],
        "spearman": plain([[of.spearman for of in layers] for layers in by_layer]),
        "seedsFigure": seeds_figure(run.reports, summaries),
        "ablations": ablation_figures(report),
        "crosstalk": [_crosstalk(found) for found in report.crosstalk],
        "heard": plain(report.heard),
        "samples": [asdict(sample) for sample in run.samples],
    }


def _summary(found: ConceptSummary, seeds: Sequence[ConceptSteering]) -> dict[str, Any]:
    ablation = found.ablation[0]
    reason = next((each.reason for each in seeds if each.verdict == found.verdict), seeds[0].reason)
    return {
        "verdict": found.verdict,
        "reason": reason,
        "steersIn": found.steers_in,
        "layer": found.layer,
        "dose": found.at.dose,
        **{camel(name): plain(getattr(found.at, name)) for name in AT_BEST},
        "words": list(seeds[0].words),
        "fall": ablation and plain(ablation.fall),
        "fallP": ablation and plain(ablation.p_value),
    }


def _crosstalk(found: CausalCrossTalk) -> dict[str, Any]:
    """Effects in 127 steps of the largest; p in steps of a hundredth."""
    effect = torch.tensor(found.effect, dtype=torch.float64)
    most = max((abs(value) for row in found.effect for value in row if value == value), default=0.0)
    p = torch.tensor([[float("nan") if value is None else value for value in row] for row in found.p_value])
    return {
        "layer": found.layer,
        "dose": found.dose,
        "most": plain(most),
        "effect": packed(effect, most / 127 or 1.0),
        "p": packed(p, P_STEP),
    }
