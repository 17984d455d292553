"""`compare`: two runs of `steer` side by side."""

from pathlib import Path
from typing import Annotated

import typer

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import print_error, print_json, printer


def compare(
    first: Annotated[Path, typer.Argument(help="Results folder of `steer`.")],
    second: Annotated[Path, typer.Argument(help="Another results folder.")],
    as_json: options.Json = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit with 1 if a verdict of the first is worse, or missing, in the second."),
    ] = False,
) -> None:
    """Compare two causal checks: settings, verdicts, and differences of effects with intervals."""
    from amygdala_tl.report.runs import comparison_table
    from amygdala_tl.steering.comparing import compare_runs
    from amygdala_tl.steering.results import read_run

    found = compare_runs(read_run(first), read_run(second))
    if as_json:
        print_json(found.as_json())
    else:
        printer().print(comparison_table(found))
    if check and found.worse:
        print_error(f"worse in {found.names[1]}: {', '.join(each.concept for each in found.worse)}", what="check")
        raise typer.Exit(1)
