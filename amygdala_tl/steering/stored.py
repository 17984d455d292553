"""A causal check read back from JSON: what `SteeringReport.as_json` wrote, as the records it was written from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from amygdala_tl.errors import InputError
from amygdala_tl.steering.records import (
    Ablation,
    CausalCrossTalk,
    ConceptSteering,
    DoseEffect,
    LayerSteering,
    Sample,
    SteeringPlan,
    SteeringReport,
)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One results folder of `steer` or `ablation-run`.

    Attributes:
        name: of the folder.
        reports: one a seed, at least one; all of the same concepts, layers and doses.
        about: what the run was made of: model, readout, prompts, words (`run.json`); empty for a folder that does not say.
        samples: generations, of all seeds.
    """

    name: str
    reports: tuple[SteeringReport, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()

    @property
    def plan(self) -> SteeringPlan:
        """Of the first seed."""
        return self.reports[0].plan


def report_from_json(values: Mapping[str, Any], label: str = "the report") -> SteeringReport:
    """The inverse of `SteeringReport.as_json`; a number that was written as None where the record has a float is NaN.

    Args:
        values: parsed JSON.
        label: what names it in a message.

    Raises:
        InputError: it is something else.
    """
    try:
        plan: dict[str, Any] = {key: tuple(of) if isinstance(of, list) else of for key, of in values["plan"].items()}
        return SteeringReport(
            plan=SteeringPlan(**plan),
            model=str(values["model"]),
            norms={int(layer): float(norm) for layer, norm in values["norms"].items()},
            prompts=int(values["prompts"]),
            controls=dict(values["controls"]),
            concepts=tuple(map(_concept, values["concepts"])),
            crosstalk=tuple(map(_crosstalk, values["crosstalk"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise InputError(
            "is no report of `steer`", label=label, got=str(cause), remedy="run `amygdala-tl steer` again"
        ) from cause


def _concept(values: Mapping[str, Any]) -> ConceptSteering:
    given = dict(values)
    given["words"] = tuple(given["words"])
    given["layers"] = tuple(map(_layer, given["layers"]))
    for key in ("ablation_together", "ablation_everywhere"):
        given[key] = _ablation(given.get(key))
    return ConceptSteering(**given)


def _layer(values: Mapping[str, Any]) -> LayerSteering:
    given = dict(values)
    given["doses"] = tuple(map(_dose, given["doses"]))
    given["ablation"] = _ablation(given["ablation"])
    return LayerSteering(**given)


def _dose(values: Mapping[str, Any]) -> DoseEffect:
    given = {**values, "by_prompt": tuple(values.get("by_prompt", ()))}
    for key in ("effect", "low", "high", "random_mean", "random_deviation", "kl", "loss", "random_kl", "random_loss"):
        given[key] = _number(given[key])
    return DoseEffect(**given)


def _ablation(values: Mapping[str, Any] | None) -> Ablation | None:
    if values is None:
        return None
    given = {**values, "layers": tuple(values["layers"])}
    for key in ("fall", "random_mean", "random_deviation"):
        given[key] = _number(given[key])
    return Ablation(**given)


def _crosstalk(values: Mapping[str, Any]) -> CausalCrossTalk:
    return CausalCrossTalk(
        layer=int(values["layer"]),
        dose=float(values["dose"]),
        effect=tuple(tuple(map(_number, row)) for row in values["effect"]),
        p_value=tuple(map(tuple, values["p_value"])),
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
