"""What taking concepts out does, in the terminal: methods side by side, and what a probe fitted anew still reads."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from amygdala_tl.report.grid import NARROW, UNKNOWN, fixed, grid
from amygdala_tl.steering.records import Ablation, Refit, SteeringReport

READABLE = 0.6
"""AUROC from which on the curve over layers calls a concept read again."""

POINTS = 4
"""Layers of the curve that a line has room for."""

HEADINGS = ("fall", "random", "loss", "random", "probe", "before", "random", "unseen", "before")


def erasure_table(report: SteeringReport) -> RenderableType | None:
    """Show every concept, place and method: fall of the words, loss of plain texts, refitted probes and their curve.

    Args:
        report: what was found.

    Returns:
        None if nothing was taken out.
    """
    table = grid(["taken out", "at", "by"], [*HEADINGS, "later layers"], padding=NARROW, wrap=True)
    rows = [(found.concept, each) for found in report.concepts for each in found.ablations]
    for concept, each in rows:
        cells = [f"{each.fall:+.2f}", f"{each.random_mean:+.2f}\u00b1{each.random_deviation:.2f}"]
        cells += [fixed(each.loss, "+.3f"), fixed(each.random_loss, "+.3f")]
        cells += [fixed(value, ".2f") for value in _read(each.refit)]
        table.add_row(concept, place_of(each.layers), each.method, *cells, _curve(each))
    return Group(table, Text(_LEGEND, style="dim")) if rows else None


def read_again(found: Ablation) -> int | None:
    """Return the first layer above those where the concept is taken out at which a refitted probe reads it again."""
    return next((each.layer for each in _later(found) if each.after >= READABLE), None)


def _later(found: Ablation) -> list[Refit]:
    return [each for each in found.refits if each.layer > found.layers[-1]]


def _read(found: Refit | None) -> tuple[float | None, ...]:
    if found is None:
        return (None,) * 5
    return found.after, found.before, found.random, found.unseen, found.unseen_before


def place_of(layers: Sequence[int]) -> str:
    """Return layers in a few characters: 14, or 14,19, or 0-29."""
    whole = len(layers) > 2 and list(layers) == list(range(layers[0], layers[-1] + 1))
    return f"{layers[0]}-{layers[-1]}" if whole else ",".join(map(str, layers))


def ablation_places(report: SteeringReport) -> list[tuple[str, list[Ablation | None]]]:
    """Return every place and method by which a concept was taken out, with a name, and what it did to each concept."""
    places: list[tuple[str, list[Ablation | None]]] = [
        (f"layer {layer}", [found.layers[place].ablation for found in report.concepts])
        for place, layer in enumerate(report.plan.layers)
    ]
    whole = "every layer of the model" if report.plan.erase[0] == "project" else "every captured layer"
    places += [
        ("all these layers together", [found.ablation_together for found in report.concepts]),
        (whole, [found.ablation_everywhere for found in report.concepts]),
    ]
    others = [each for found in report.concepts for each in found.ablations if each.method != report.plan.erase[0]]
    for method, layers in dict.fromkeys((each.method, each.layers) for each in others):
        here = [
            next((each for each in found.ablations if (each.method, each.layers) == (method, layers)), None)
            for found in report.concepts
        ]
        places.append((f"{'layer' if len(layers) == 1 else 'layers'} {place_of(layers)}, by {method}", here))
    return [(name, found) for name, found in places if any(found)]


def _curve(found: Ablation) -> str:
    """A few points of the curve, the model's last layer among them, and where the concept is read again."""
    later, again = _later(found), read_again(found)
    if not later:
        return UNKNOWN
    step = -(-len(later) // POINTS)
    points = " ".join(f"{each.layer}:{each.after:.2f}" for each in later[::-1][::step][::-1])
    return f"{points}, {'never' if again is None else f'from {again}'}"


_LEGEND = (
    "fall: of the concept's words, nats; loss: of plain texts, nats a token; probe: AUROC on texts of other groups of a probe "
    "fitted anew where the concept is taken out, before: without that, random: with a control taken out; unseen: the same of a "
    "probe fitted on texts that the erasure has not seen; later layers: the probe's AUROC there, and from where it is at least "
    f"{READABLE}."
)
