"""`inspect`: description of a bundle, with a check that it is whole."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from amygdala_tl.report.summaries import readout_summary


def inspect(readout: Annotated[Path, typer.Argument(help="The bundle's .safetensors file.")]) -> None:
    """Describe a readout bundle and check that it is whole."""
    from amygdala_tl.readout.record import load_readout

    Console(highlight=False).print(readout_summary(load_readout(readout), [readout, readout.with_suffix(".json")]))
