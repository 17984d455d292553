"""One line a concept, over the seeds of a run.

Seeds differ in random directions, shuffled labels and halves of the texts, not in the concepts' own directions: effects stay, and
only their controls are drawn again. So a concept steers if every seed says so, at the dose that most of them recommend, and its p
is the largest.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from amygdala_tl.steering.records import Ablation, ConceptSteering, DoseEffect, SteeringReport, SteeringVerdict


@dataclass(frozen=True, slots=True)
class ConceptSummary:
    """What all seeds say of one concept.

    Attributes:
        concept: its name.
        verdict: `steers` if every seed says so, else what the other seeds say.
        steers_in, seeds: with how many seeds it steers, of how many.
        layer: the recommended one, or else that of the dose that came nearest.
        at: the first seed's effect there, with the means of `random_mean` and `random_deviation` and the largest `p_value`.
        recommended: whether a seed recommends this dose.
        ablation: at that layer, at all layers of the plan, and everywhere in the model, each with the largest p-value.
    """

    concept: str
    verdict: SteeringVerdict
    steers_in: int
    seeds: int
    layer: int
    at: DoseEffect
    recommended: bool
    ablation: tuple[Ablation | None, Ablation | None, Ablation | None]


def summarise(reports: Sequence[SteeringReport]) -> list[ConceptSummary]:
    """The concepts of a run, in the plan's order.

    Args:
        reports: one a seed, of the same concepts, layers and doses.
    """
    return [_concept([report.concepts[place] for report in reports]) for place in range(len(reports[0].concepts))]


def nearest_dose(found: ConceptSteering) -> tuple[int, DoseEffect]:
    """(layer, dose): the recommended one, or else the one with the largest t."""
    if found.layer is not None and found.best is not None:
        return found.layer, found.best
    every = [(of.layer, at) for of in found.layers for at in of.doses]
    return max(every, key=lambda pair: -math.inf if pair[1].t is None else pair[1].t)


def _concept(seeds: Sequence[ConceptSteering]) -> ConceptSummary:
    steering = [found for found in seeds if found.verdict == "steers"]
    # `Counter` keeps the order in which it saw them: of equally frequent doses, the first seed's wins.
    named = Counter((layer, at.dose) for layer, at in map(nearest_dose, steering or seeds))
    (layer, dose), _ = named.most_common(1)[0]
    cells = [_cell(found, layer, dose) for found in seeds]
    others = [found.verdict for found in seeds if found.verdict != "steers"]
    return ConceptSummary(
        concept=seeds[0].concept,
        verdict=others[0] if others else "steers",
        steers_in=len(steering),
        seeds=len(seeds),
        layer=layer,
        at=replace(
            cells[0],
            p_value=_largest([cell.p_value for cell in cells]),
            random_mean=sum(cell.random_mean for cell in cells) / len(cells),
            random_deviation=sum(cell.random_deviation for cell in cells) / len(cells),
        ),
        recommended=bool(steering),
        ablation=(
            _over_seeds([next(of.ablation for of in found.layers if of.layer == layer) for found in seeds]),
            _over_seeds([found.ablation_together for found in seeds]),
            _over_seeds([found.ablation_everywhere for found in seeds]),
        ),
    )


def _cell(found: ConceptSteering, layer: int, dose: float) -> DoseEffect:
    return next(at for of in found.layers for at in of.doses if of.layer == layer and at.dose == dose)


def _over_seeds(found: Sequence[Ablation | None]) -> Ablation | None:
    """The first seed's, with the mean of what random directions do and the largest p."""
    known = [each for each in found if each is not None]
    if not known:
        return None
    return replace(
        known[0],
        random_mean=sum(each.random_mean for each in known) / len(known),
        random_deviation=sum(each.random_deviation for each in known) / len(known),
        p_value=_largest([each.p_value for each in known]),
    )


def _largest(p_values: Sequence[float | None]) -> float | None:
    known = [p for p in p_values if p is not None]
    return max(known) if known else None
