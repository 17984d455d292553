"""Terminal tables of causal checks: one run over its seeds, and two runs compared."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from amygdala_tl.report.grid import NARROW, UNKNOWN, fixed, grid, tally
from amygdala_tl.report.steering import STYLES, add_concept, concept_grid, spread
from amygdala_tl.steering.comparing import Difference, RunComparison, Side
from amygdala_tl.steering.records import Ablation, SteeringReport
from amygdala_tl.steering.summary import summarise


def summary_table(reports: Sequence[SteeringReport]) -> RenderableType:
    """Show a line for each concept over all seeds. A concept that does not steer is dimmed, at the dose that came nearest.

    Args:
        reports: one for each seed.
    """
    found, several = summarise(reports), len(reports) > 1
    headings = ["layer", "dose", "effect", "random", "p", "loss", "ablated", "all"]
    table = concept_grid(["seeds"] * several + headings)
    for each in found:
        at = each.at
        cells = [f"{each.layer}", f"{at.dose:g}", f"{at.effect:+.2f}", spread(at, ".1f"), fixed(at.p_value)]
        cells += [f"{at.loss:+.2f}", _fall(each.ablation[0]), _fall(each.ablation[2])]
        add_concept(table, each, [f"{each.steers_in}/{each.seeds}"] * several + cells)
    counts = tally((each.verdict for each in found), STYLES)
    seeds = ", ".join(str(report.plan.seed) for report in reports)
    legend = (
        "seeds: number of seeds with which it steers; p: largest over seeds; ablated, all: fall of the concept's words when "
        "the direction is removed at that layer, or at all layers of the model; * p below 0.05"
    )
    return Group(table, Text(f"{counts}; seeds {seeds}"), Text(legend, style="dim"))


def comparison_table(found: RunComparison) -> RenderableType:
    """Show how two runs were configured differently, and the verdict and effect of each concept in both."""
    parts: list[RenderableType] = []
    if found.differs:
        made = grid(["differs", *map(Text, found.names)], padding=NARROW)
        for row in found.differs:
            made.add_row(*map(Text, row))
        parts += [made, Text()]
    else:
        said = "The two runs have the same settings" + (", as far as they record them." if found.notes else ".")
        parts.append(Text(said))
    if found.obstacles:
        parts.append(Text(f"Effects cannot be compared: {'; '.join(found.obstacles)}.", style="bold yellow"))
    parts += [Text(note, style="yellow") for note in found.notes]
    headings = ["layer, dose", "effect", "difference [95%]", "loss"]
    table = grid(["concept", "verdict"], headings, padding=NARROW)
    for each in found.concepts:
        sides = each.first, each.second
        verdicts = [_verdict(side) for side in sides]
        style = None if None in sides or verdicts[0] != verdicts[1] else "dim"
        places = _arrow(*map(_place, sides))
        table.add_row(Text(each.concept), _arrow(*verdicts), places, *_cells(*sides, each.at), style=style)
    return Group(*parts, table, Text(_legend(found), style="dim"))


def _cells(first: Side | None, second: Side | None, at: Difference | None) -> list[str]:
    if at is None:
        effects, losses = (
            [UNKNOWN if side is None else f"{getattr(side, name):+.2f}" for side in (first, second)]
            for name in ("effect", "loss")
        )
        return [_arrow(*effects), UNKNOWN, _arrow(*losses)]
    interval = "" if at.low is None else f" [{at.low:+.2f}, {at.high:+.2f}]"
    effect = f"{at.first:+.2f} \u2192 {at.second:+.2f}"
    return [effect, f"{at.difference:+.2f}{interval}", f"{at.loss[0]:+.2f} \u2192 {at.loss[1]:+.2f}"]


def _legend(found: RunComparison) -> str:
    if found.obstacles:
        return "effect: in nats, at each run's own layer and dose."
    shown = next((each.at for each in found.concepts if each.at is not None), None)
    way = "prompt by prompt" if shown is not None and shown.paired else "of two means"
    return (
        f"effect: in nats, both at the best or nearest layer and dose of {found.names[1]}, else of {found.names[0]}; "
        f"difference: {way}; loss: what plain texts lose there, in nats per token."
    )


def _verdict(side: Side | None) -> str:
    if side is None:
        return UNKNOWN
    return side.verdict if side.seeds == 1 else f"{side.verdict} ({side.steers_in}/{side.seeds})"


def _place(side: Side | None) -> str:
    return UNKNOWN if side is None or side.layer is None or side.dose is None else f"{side.layer}, {side.dose:g}"


def _arrow(first: str, second: str) -> str:
    return first if first == second else f"{first} \u2192 {second}"


def _fall(found: Ablation | None) -> str:
    if found is None:
        return UNKNOWN
    star = "*" if found.p_value is not None and found.p_value <= 0.05 else ""
    return f"{found.fall:+.2f}{star}"
