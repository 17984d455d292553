"""The causal check as SVG figures, drawn without a browser: those of the page, of all concepts at once."""

import math
import re
from collections.abc import Callable, Sequence

from amygdala_tl.report.drawings import Interval, Line, Tick, auroc_ticks, curves, matrix, rows, ticks_around
from amygdala_tl.report.erasures import ablation_places
from amygdala_tl.report.packing import mean_of_known
from amygdala_tl.report.svg import ACCENT, INK, MUTED, OTHER, Sheet
from amygdala_tl.steering.records import Ablation, DoseEffect, Refit, SteeringReport
from amygdala_tl.steering.results import SteeringRun
from amygdala_tl.steering.summary import summarise

BAND = 1.96
"""Deviations of random directions that hold 95% of them."""


def steering_plots(run: SteeringRun) -> dict[str, Sheet]:
    """Draw the first seed of a run; only the summary of effects is of all seeds.

    Returns:
        Name of the figure -> its drawing: `steering-effects`; `steering-doses-<layer>` and `steering-damage-<layer>`;
        `steering-cross-talk-<layer>-<dose>`; for each place where concepts are taken out `steering-ablation-<place>`, and
        `steering-curve-<place>` where probes were fitted anew.
    """
    report = run.reports[0]
    found = {"steering-effects": _effects(run)}
    for place, layer in enumerate(report.plan.layers):
        found[f"steering-doses-{layer}"] = _doses(report, place)
        found[f"steering-damage-{layer}"] = _damage(report, place)
    for each in report.crosstalk:
        most = max((abs(value) for row in each.effect for value in row if math.isfinite(value)), default=0.0) or 1.0
        said = f"layer {each.layer}, dose {each.dose:g}: words moved (column) by what is added (row), nats"
        name = f"steering-cross-talk-{each.layer}-{each.dose:g}"
        found[name] = matrix(said, report.plan.concepts, each.effect, (-most, most))
    for where, ablations in ablation_places(report):
        slug = re.sub(r"[^a-z0-9]+", "-", where)
        found[f"steering-ablation-{slug}"] = _ablation(report, where, ablations)
        known = [each for each in ablations if each is not None and each.refits]
        if known:
            found[f"steering-curve-{slug}"] = _curve(where, known)
    return found


def _effects(run: SteeringRun) -> Sheet:
    shown = [
        Interval(
            of.concept, of.verdict, of.at.effect, of.at.low, of.at.high,
            _chance(of.at), ("circle", ACCENT, of.verdict == "steers"),
        )
        for of in summarise(run.reports)
    ]  # fmt: skip
    said = "effect on the concept's words, nats, with its 95% interval; grey: 95% of random directions"
    return rows("Effect of each direction at its layer and dose", said, shown, _around(shown), origin=0.0)


def _ablation(report: SteeringReport, where: str, found: Sequence[Ablation | None]) -> Sheet:
    shown = []
    for concept, each in zip(report.plan.concepts, found, strict=True):
        if each is not None:
            low, high = (math.nan if end is None else end for end in (each.low, each.high))
            significant = each.p_value is not None and each.p_value <= report.plan.level
            look = ("circle", ACCENT, significant)
            shown.append(Interval(concept, f"{each.fall:+.2f}", each.fall, low, high, _chance(each), look))
    said = "fall of the concept's words, nats, with its 95% interval; grey: 95% of controls"
    return rows(f"What goes when a concept is taken out at {where}", said, shown, _around(shown), origin=0.0)


def _doses(report: SteeringReport, place: int) -> Sheet:
    doses = [0.0, *(at.dose for at in report.concepts[0].layers[place].doses)]
    lines = _of_concepts(report, place, lambda at: at.dose, lambda at: at.effect)
    means = [mean_of_known(values) for values in zip(*(line.ys for line in lines), strict=True)]
    lines += [Line(doses, means, INK, 2.5)]
    said = f"layer {report.plan.layers[place]}: effect on the concept's words, nats, by dose: each concept, and the mean (black)"
    return curves(said, [(f"{dose:g}", dose) for dose in doses], lines, _high(lines))


def _damage(report: SteeringReport, place: int) -> Sheet:
    lines = _of_concepts(report, place, lambda at: at.loss, lambda at: at.effect)
    below, beside = ticks_around([report.plan.most_loss, *(x for line in lines for x in line.xs)]), _high(lines)
    limit = Line([report.plan.most_loss] * 2, [beside[0][1], beside[-1][1]], MUTED)
    said = f"layer {report.plan.layers[place]}: effect, nats, by what plain texts lose, nats a token; line: too much"
    return curves(said, below, [*lines, limit], beside)


def _of_concepts(
    report: SteeringReport, place: int, x: Callable[[DoseEffect], float], y: Callable[[DoseEffect], float]
) -> list[Line]:
    """A line a concept over its doses at one layer, from dose 0, where nothing happens."""
    of = [concept.layers[place].doses for concept in report.concepts]
    return [Line([0.0, *map(x, doses)], [0.0, *map(y, doses)], OTHER) for doses in of]


def _curve(where: str, found: Sequence[Ablation]) -> Sheet:
    layers = [each.layer for each in found[0].refits]

    def mean(value: Callable[[Refit], float], colour: str) -> Line:
        columns = zip(*([value(each) for each in one.refits] for one in found), strict=True)
        return Line(layers, [mean_of_known(column) for column in columns], colour, 2.5)

    lines = [Line(layers, [each.after for each in one.refits], OTHER) for one in found]
    lines += [mean(lambda each: each.before, INK), mean(lambda each: each.random, MUTED)]
    lines += [mean(lambda each: each.after, ACCENT)]
    said = f"AUROC, {where}; means: as it is (black), a control out (grey), the concept out (blue)"
    beside = auroc_ticks(value for line in lines for value in line.ys)
    return curves(said, [(str(layer), layer) for layer in layers], lines, beside)


def _chance(found: DoseEffect | Ablation) -> tuple[float, float]:
    reach = BAND * found.random_deviation
    return found.random_mean - reach, found.random_mean + reach


def _around(shown: Sequence[Interval]) -> list[Tick]:
    return ticks_around(value for row in shown for value in (row.value, row.low, row.high, *row.chance))


def _high(lines: Sequence[Line]) -> list[Tick]:
    return ticks_around(value for line in lines for value in line.ys)
