"""`inspect`: description of a bundle, with a check that it is whole."""

from pathlib import Path
from typing import Annotated

import typer

from amygdala_tl.cli.printer import printer


def inspect(readout: Annotated[Path, typer.Argument(help="The bundle's .safetensors file.")]) -> None:
    """Describe a readout bundle and check that it is whole."""
    from amygdala_tl.readout.bundle import outputs, read_bundle
    from amygdala_tl.report.bundle import bundle_summary

    manifest, _vectors, written = read_bundle(readout)
    files = [file for file in outputs(readout) if file.exists()]
    printer().print(bundle_summary(manifest, files, writes=written is not None))
