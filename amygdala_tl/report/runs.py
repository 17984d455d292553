"""Terminal tables of causal checks: one run over its seeds, and two runs compared."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from amygdala_tl.report.steering import STYLES, UNKNOWN
from amygdala_tl.steering.comparing import Difference, RunComparison, Side
from amygdala_tl.steering.records import Ablation, SteeringReport
from amygdala_tl.steering.summary import summarise


def summary_table(reports: Sequence[SteeringReport]) -> RenderableType:
    """Show a line for each concept over all seeds. A concept that does not steer is dimmed, at the dose that came nearest.

    Args:
        reports: one for each seed.
    """
    found = summarise(reports)
    table = _table("concept")
    table.add_column("verdict", no_wrap=True)
    several = len(reports) > 1
    for name in (*(["seeds"] if several else []), "layer", "dose", "effect", "random", "p", "loss", "ablated", "all"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found:
        at = each.at
        table.add_row(
            Text(each.concept),
            Text(each.verdict, style=STYLES[each.verdict]),
            *([f"{each.steers_in}/{each.seeds}"] if several else []),
            str(each.layer),
            f"{at.dose:g}",
            f"{at.effect:+.2f}",
            f"{at.random_mean:+.1f}\u00b1{at.random_deviation:.1f}",
            UNKNOWN if at.p_value is None else f"{at.p_value:.3f}",
            f"{at.loss:+.2f}",
            _fall(each.ablation[0]),
            _fall(each.ablation[2]),
            style=None if each.verdict == "steers" else "dim",
        )
    counts = Counter(each.verdict for each in found)
    line = ", ".join(f"{counts[verdict]} {verdict}" for verdict in STYLES)
    return Group(
        table,
        Text(f"{line}; seeds {', '.join(str(report.plan.seed) for report in reports)}"),
        Text(
            "seeds: number of seeds with which it steers; p: largest over seeds; ablated, all: fall of the concept's words when "
            "the direction is removed at that layer, or at all layers of the model; * p below 0.05",
            style="dim",
        ),
    )


def comparison_table(found: RunComparison) -> RenderableType:
    """Show how two runs were configured differently, and the verdict and effect of each concept in both."""
    first, second = found.names
    parts: list[RenderableType] = []
    if found.differs:
        made = _table("differs")
        for name in (first, second):
            made.add_column(Text(name), overflow="fold")
        for row in found.differs:
            made.add_row(*map(Text, row))
        parts += [made, Text()]
    else:
        said = "The two runs have the same settings" + (", as far as they record them." if found.notes else ".")
        parts.append(Text(said))
    if found.obstacles:
        parts.append(Text(f"Effects cannot be compared: {'; '.join(found.obstacles)}.", style="bold yellow"))
    parts += [Text(note, style="yellow") for note in found.notes]
    table = _table("concept", "verdict")
    for name in ("layer, dose", "effect", "difference [95%]", "loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found.concepts:
        changed = None in (each.first, each.second) or _verdict(each.first) != _verdict(each.second)
        table.add_row(
            Text(each.concept),
            _arrow(_verdict(each.first), _verdict(each.second)),
            _arrow(_place(each.first), _place(each.second)),
            *_cells(each.first, each.second, each.at),
            style=None if changed else "dim",
        )
    parts += [table, Text(_legend(found), style="dim")]
    return Group(*parts)


def _cells(first: Side | None, second: Side | None, at: Difference | None) -> list[str]:
    if at is None:
        return [
            _arrow(*(UNKNOWN if side is None else f"{side.effect:+.2f}" for side in (first, second))),
            UNKNOWN,
            _arrow(*(UNKNOWN if side is None else f"{side.loss:+.2f}" for side in (first, second))),
        ]
    interval = "" if at.low is None else f" [{at.low:+.2f}, {at.high:+.2f}]"
    return [
        f"{at.first:+.2f} \u2192 {at.second:+.2f}",
        f"{at.difference:+.2f}{interval}",
        f"{at.loss[0]:+.2f} \u2192 {at.loss[1]:+.2f}",
    ]


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


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
