"""Two runs side by side: what differs in how they were made, and in what they found.

Effects of two runs have one scale if the model and the words of all concepts are the same (a concept's effect is against the
others' words, tested or not). If the prompts are the same too, differences are taken prompt by prompt, with the interval of
paired differences; otherwise with that of two independent means.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from amygdala_tl.diagnostics.comparing import differing
from amygdala_tl.steering.records import DoseEffect, SteeringVerdict
from amygdala_tl.steering.results import About, SteeringRun
from amygdala_tl.steering.significance import bootstrap_interval
from amygdala_tl.steering.summary import ConceptSummary, summarise

_BEST_FIRST: tuple[SteeringVerdict, ...] = ("steers", "reads only", "neither")

NORMAL = 1.96
"""Deviations of a normal 95% interval."""

CONFIGURATION: Mapping[str, Callable[[About], str | None]] = {
    "model": lambda about: about.model.id,
    "weights": lambda about: about.model.fingerprint,
    "engine": lambda about: about.model.engine,
    "dtype": lambda about: about.model.dtype,
    "readout": lambda about: about.readout.sha256,
    "estimator": lambda about: about.readout.estimator,
    "readout's corpus": lambda about: about.readout.corpus_sha256,
    "corpus given": lambda about: about.corpus_sha256,
    "prompts": lambda about: about.prompts_sha256,
    "texts of ablation": lambda about: about.carriers_sha256,
}
"""What a run is made of, besides its plan and its words."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One concept's effect at one layer and dose, in both runs.

    Attributes:
        layer, dose: where, and how much.
        first, second: effects, nats.
        difference: second minus first.
        low, high: its 95% interval over prompts; None without effects by prompt.
        paired: whether differences were taken prompt by prompt.
        loss: rise of the loss of plain texts in both.
    """

    layer: int
    dose: float
    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    paired: bool
    loss: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Side:
    """What one run says of a concept, over its seeds; layer and dose are None unless they are recommended."""

    verdict: SteeringVerdict
    steers_in: int
    seeds: int
    layer: int | None
    dose: float | None
    effect: float
    loss: float


@dataclass(frozen=True, slots=True)
class ConceptComparison:
    """One concept in both runs; None where a run has not checked it.

    Attributes:
        differences: at every layer and dose that both runs have; empty where effects are not of one scale.
        at: the one at the layer and dose that the second run recommends, else at those of the first, else None.
    """

    concept: str
    first: Side | None
    second: Side | None
    differences: tuple[Difference, ...]
    at: Difference | None


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs.

    Attributes:
        names: of the folders.
        differs: (what, in the first, in the second), for every difference in their configuration.
        obstacles: why effects cannot be compared; empty if they can.
        notes: what else a reader should know.
        concepts: those of the first run, then those that only the second has.
    """

    names: tuple[str, str]
    differs: tuple[tuple[str, str, str], ...]
    obstacles: tuple[str, ...]
    notes: tuple[str, ...]
    concepts: tuple[ConceptComparison, ...]

    @property
    def worse(self) -> tuple[ConceptComparison, ...]:
        """Concepts whose verdict is worse in the second run, or missing there."""
        return tuple(
            each for each in self.concepts if each.first is not None and _rank(each.second) > _rank(each.first)
        )

    def as_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            **asdict(self),
            "comparable": not self.obstacles,
            "worse": [each.concept for each in self.worse],
        }


def _rank(side: Side | None) -> int:
    return len(_BEST_FIRST) if side is None else _BEST_FIRST.index(side.verdict)


def compare_runs(first: SteeringRun, second: SteeringRun) -> RunComparison:
    """Compare two runs.

    Args:
        first, second: runs, in memory or read back.
    """
    both = first, second
    obstacles, notes = _obstacles(first, second), []
    prompts = [None if run.about is None else run.about.prompts_sha256 for run in both]
    same_prompts = prompts[0] == prompts[1] and first.reports[0].prompts == second.reports[0].prompts
    if not same_prompts:
        notes.append("Prompts differ: differences are of two means, not prompt by prompt.")
    for name, run in zip(("first", "second"), both, strict=True):
        if run.about is None:
            notes.append(f"The {name} run does not say what it was made of: it has no run.json.")
    summaries = [{found.concept: found for found in summarise(run.reports)} for run in both]
    return RunComparison(
        names=(first.name, second.name),
        differs=_differs(first, second),
        obstacles=tuple(obstacles),
        notes=tuple(notes),
        concepts=tuple(
            _concept(concept, both, (summaries[0].get(concept), summaries[1].get(concept)), obstacles, same_prompts)
            for concept in dict.fromkeys([*summaries[0], *summaries[1]])
        ),
    )


def _concept(
    concept: str,
    runs: tuple[SteeringRun, SteeringRun],
    summaries: tuple[ConceptSummary | None, ConceptSummary | None],
    obstacles: list[str],
    paired: bool,
) -> ConceptComparison:
    cells = [_cells(run, concept) for run in runs]
    shared = [] if obstacles else [where for where in cells[0] if where in cells[1]]
    differences = tuple(_difference(*where, cells[0][where], cells[1][where], paired) for where in shared)
    by_place = {(each.layer, each.dose): each for each in differences}
    wanted = [(found.layer, found.at.dose) for found in reversed(summaries) if found is not None]
    return ConceptComparison(
        concept=concept,
        first=_side(summaries[0]),
        second=_side(summaries[1]),
        differences=differences,
        at=next((by_place[where] for where in wanted if where in by_place), None),
    )


def _difference(layer: int, dose: float, first: DoseEffect, second: DoseEffect, paired: bool) -> Difference:
    low: float | None = None
    high: float | None = None
    before, after = (torch.tensor(each.by_prompt, dtype=torch.float64) for each in (first, second))
    difference = second.effect - first.effect
    if paired and len(before) == len(after) > 1:
        # As the intervals of the effects themselves.
        bounds = bootstrap_interval((after - before).float(), torch.Generator().manual_seed(0))
        low, high = (float(bound) for bound in bounds)
    elif min(len(before), len(after)) > 1:
        margin = NORMAL * float((before.var() / len(before) + after.var() / len(after)).sqrt())
        low, high = difference - margin, difference + margin
    return Difference(
        layer=layer,
        dose=dose,
        first=first.effect,
        second=second.effect,
        difference=difference,
        low=low,
        high=high,
        paired=paired and low is not None,
        loss=(first.loss, second.loss),
    )


def _side(found: ConceptSummary | None) -> Side | None:
    if found is None:
        return None
    return Side(
        verdict=found.verdict,
        steers_in=found.steers_in,
        seeds=found.seeds,
        layer=found.layer if found.recommended else None,
        dose=found.at.dose if found.recommended else None,
        effect=found.at.effect,
        loss=found.at.loss,
    )


def _cells(run: SteeringRun, concept: str) -> Mapping[tuple[int, float], DoseEffect]:
    """Of the first seed: effects of the concept's own direction do not depend on the seed."""
    found = [each for each in run.reports[0].concepts if each.concept == concept]
    return {(of.layer, at.dose): at for each in found for of in each.layers for at in of.doses}


def _obstacles(first: SteeringRun, second: SteeringRun) -> list[str]:
    found = []
    weights = [None if run.about is None else run.about.model.fingerprint for run in (first, second)]
    names = [run.reports[0].model for run in (first, second)]
    if weights[0] != weights[1] if all(weights) else names[0] != names[1]:
        found.append("the models differ")
    words = [{concept: tuple(sorted(some)) for concept, some in _words(run).items()} for run in (first, second)]
    if words[0].keys() != words[1].keys():
        found.append("the readouts' concepts differ, and an effect is against the words of all others")
    elif words[0] != words[1]:
        found.append("the words differ")
    return found


def _words(run: SteeringRun) -> Mapping[str, tuple[str, ...]]:
    """Words of all concepts that effects are against."""
    said = {} if run.about is None else run.about.words
    return said or {each.concept: each.words for each in run.reports[0].concepts}


def _differs(first: SteeringRun, second: SteeringRun) -> tuple[tuple[str, str, str], ...]:
    facts = _facts(first), _facts(second)
    # A run without run.json says nothing about these facts, so they do not count as different.
    silent = tuple(of for of, run in zip(facts, (first, second), strict=True) if run.about is None)
    return differing(*facts, only=silent)


def _facts(run: SteeringRun) -> dict[str, Any]:
    """Name -> value of everything that configured a run."""
    found: dict[str, Any] = {}
    if run.about is not None:
        found |= {name: value(run.about) for name, value in CONFIGURATION.items()}
        found |= {f"version of {name}": version for name, version in run.about.versions.items()}
    for name in ("concepts", "layers", "doses", "random", "most_loss", "level", "ablate"):
        found[name] = getattr(run.plan, name)
    return found | {
        "seeds": tuple(report.plan.seed for report in run.reports),
        "controls": dict(run.reports[0].controls),
    }
