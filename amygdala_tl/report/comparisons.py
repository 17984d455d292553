"""Terminal tables of two readouts, or two causal checks, side by side."""

from rich.console import Group, RenderableType
from rich.text import Text

from amygdala_tl.diagnostics.comparing import ReadConcept, ReadoutComparison
from amygdala_tl.report.grid import NARROW, UNKNOWN, fixed, grid
from amygdala_tl.steering.comparing import Difference, RunComparison, Side


def comparison_table(found: ReadoutComparison | RunComparison) -> RenderableType:
    """Show how two readouts or runs were made differently, and the verdict and numbers of each concept in both."""
    return _readouts(found) if isinstance(found, ReadoutComparison) else _runs(found)


def _made(found: ReadoutComparison | RunComparison, kind: str, what: str) -> list[RenderableType]:
    """Return the table of what differs, and the notes."""
    notes = [Text(note, style="yellow") for note in found.notes]
    if not found.differs:
        said = f"The two {kind} have the same {what}" + (", as far as they record them." if found.notes else ".")
        return [Text(said), *notes]
    made = grid(["differs", *map(Text, found.names)], padding=NARROW)
    for row in found.differs:
        made.add_row(*map(Text, row))
    return [made, Text(), *notes]


def _readouts(found: ReadoutComparison) -> RenderableType:
    numbers = ["AUROC", "difference", *(f"cosine, {layer}" for layer in found.layers)]
    table = grid(["concept", "verdict"], numbers, padding=NARROW)
    for each in found.concepts:
        verdicts = [UNKNOWN if side is None else side.verdict for side in (each.first, each.second)]
        cosines = (fixed(each.cosines.get(layer), "+.3f") for layer in found.layers)
        style = "dim" if verdicts[0] == verdicts[1] else None
        cells = _aurocs(each), fixed(each.difference, "+.3f"), *cosines
        table.add_row(Text(each.concept), _arrow(*verdicts), *cells, style=style)
    legend = "AUROC: cross-fitted, of each readout on its own corpus"
    if found.layers:
        legend += f"; cosine, {found.layers[0]}: of the concept's two directions at layer {found.layers[0]}"
    return Group(*_made(found, "readouts", "making"), table, Text(f"{legend}.", style="dim"))


def _aurocs(found: ReadConcept) -> str:
    return _arrow(*(fixed(None if side is None else side.auroc) for side in (found.first, found.second)))


def _runs(found: RunComparison) -> RenderableType:
    parts = _made(found, "runs", "settings")
    if found.obstacles:
        parts.append(Text(f"Effects cannot be compared: {'; '.join(found.obstacles)}.", style="bold yellow"))
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
