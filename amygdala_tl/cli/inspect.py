"""`inspect`: description of a bundle, with a check that it is whole."""

from pathlib import Path
from typing import Annotated

import typer

from amygdala_tl.cli.printer import printer


def inspect(readout: Annotated[Path, typer.Argument(help="The bundle's .safetensors file.")]) -> None:
    """Describe a readout bundle and check that it is whole."""
    from amygdala_tl.readout.bundle import read_bundle
    from amygdala_tl.report.bundle import bundle_summary

    manifest, _vectors = read_bundle(readout)
    printer().print(bundle_summary(manifest, [readout, readout.with_suffix(".json")]))
