"""Terminal table of a verification, with a verdict."""

from rich.console import Group, RenderableType
from rich.text import Text

from amygdala_tl.records import Verification
from amygdala_tl.report.grid import grid


def verification_table(found: Verification) -> RenderableType:
    """Show the relative difference of each layer by engine, the findings, and the verdict."""
    engines = list(dict.fromkeys(check.engine for check in found.checks))
    title = f"{found.model}, {found.n_tokens} golden tokens in {found.dtype}, tolerance {found.tolerance:.0e}"
    headings = ["layer", *(f"against {engine}" for engine in engines)]
    table = grid([], headings, wrap=True, title=title, title_justify="left")
    by_place = {(check.engine, check.layer): check for check in found.checks}
    for layer in dict.fromkeys(check.layer for check in found.checks):
        checks = [by_place[engine, layer] for engine in engines]
        cells = (Text(f"{one.difference:.1e}", style="green" if one.passed else "bold red") for one in checks)
        table.add_row(str(layer), *cells)
    told = [check for check in found.checks if check.finding]
    lines = [Text(check.finding, style="yellow" if check.passed else "bold red") for check in told]
    lines += [Text(note, style="yellow") for note in found.notes]
    return Group(table, *lines, _verdict(found, engines))


def _verdict(found: Verification, engines: list[str]) -> Text:
    if not found.checks:
        return Text("not verified: no layer was compared", style="bold red")
    if failed := len({check.layer for check in found.checks if not check.passed}):
        return Text(f"failed: {failed} of {len({check.layer for check in found.checks})} layers", style="bold red")
    return Text(f"verified: every layer is the same layer in {' and '.join(engines)}", style="bold green")
