"""Terminal table of a verification, with a verdict."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from amygdala_tl.records import Verification


def verification_table(found: Verification) -> RenderableType:
    """Show the relative difference of each layer by engine, the findings, and the verdict."""
    engines = list(dict.fromkeys(check.engine for check in found.checks))
    table = Table(
        title=f"{found.model}, {found.n_tokens} golden tokens in {found.dtype}, tolerance {found.tolerance:.0e}",
        title_justify="left", box=None, pad_edge=False,
    )  # fmt: skip
    table.add_column("layer", justify="right")
    for engine in engines:
        table.add_column(f"against {engine}", justify="right")
    by_place = {(check.engine, check.layer): check for check in found.checks}
    for layer in dict.fromkeys(check.layer for check in found.checks):
        cells = [by_place[engine, layer] for engine in engines]
        table.add_row(
            str(layer),
            *(Text(f"{cell.difference:.1e}", style="green" if cell.passed else "bold red") for cell in cells),
        )
    lines = [Text(check.finding, style="bold red") for check in found.checks if not check.passed]
    lines += [Text(note, style="yellow") for note in found.notes]
    return Group(table, *lines, _verdict(found, engines))


def _verdict(found: Verification, engines: list[str]) -> Text:
    if not found.checks:
        return Text("not verified: no layer was compared", style="bold red")
    failed = len({check.layer for check in found.checks if not check.passed})
    if failed:
        return Text(f"failed: {failed} of {len({check.layer for check in found.checks})} layers", style="bold red")
    return Text(f"verified: every layer is the same layer in {' and '.join(engines)}", style="bold green")
