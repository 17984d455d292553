"""`compare`: two readouts, or two runs of `steer`, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import print_error, print_json, printer


def compare(
    first: Annotated[
        Path, typer.Argument(help="Readout (.safetensors or hf://owner/name), or results folder of `steer`.")
    ],
    second: Annotated[Path, typer.Argument(help="Another one of the same kind.")],
    as_json: options.Json = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit with 1 if a verdict of the first is worse, or missing, in the second."),
    ] = False,
) -> None:
    """Compare two readouts, or two causal checks: how they were made, verdicts, and differences with what they mean."""
    from amygdala_tl.api.compare import compare as compare_two
    from amygdala_tl.report.comparisons import comparison_table

    found = compare_two(first, second)
    if as_json:
        print_json(found.as_json())
    else:
        printer().print(comparison_table(found))
    if check and found.worse:
        print_error(f"worse in {found.names[1]}: {', '.join(each.concept for each in found.worse)}", what="check")
        raise typer.Exit(1)
