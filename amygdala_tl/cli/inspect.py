"""`inspect`: description of a bundle, with a check that it is whole."""

from pathlib import Path
from typing import Annotated

import typer

from amygdala_tl.cli.printer import printer
from amygdala_tl.report.summaries import readout_summary


def inspect(readout: Annotated[Path, typer.Argument(help="The bundle's .safetensors file.")]) -> None:
    """Describe a readout bundle and check that it is whole."""
    from amygdala_tl.readout.record import load_readout

    printer().print(readout_summary(load_readout(readout), [readout, readout.with_suffix(".json")]))
