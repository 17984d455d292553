"""Terminal table of alerts' thresholds."""

from rich.console import Group, RenderableType
from rich.text import Text

from amygdala_tl.diagnostics.thresholds import Thresholds
from amygdala_tl.report.grid import counted, grid


def thresholds_table(found: Thresholds) -> RenderableType:
    """Show the threshold of each concept, the rate that all of them keep, and whether there were enough turns."""
    where = "all layers" if found.layer is None else f"layer {found.layer}"
    title = f"z of the last {counted(found.window, 'token')}, {where}; {counted(found.n_turns, 'quiet turn')}"
    table = grid(["concept"], ["alert above"])
    for concept, above in zip(found.concepts, found.above.tolist(), strict=True):
        table.add_row(concept, f"{above:.2f}")
    rates = f"false alarms: {found.expected:.2g} a turn and concept, at most {found.at_most:.2g} (95% confidence)"
    if found.enough:
        return Group(Text(title), table, Text(rates))
    few = (
        f"{counted(found.n_turns, 'turn')} cannot promise {found.wanted:.2g}: each threshold is the largest z seen; "
        f"take {counted(found.n_needed, 'turn')} or more"
    )
    return Group(Text(title), table, Text(rates), Text(few, style="yellow"))
