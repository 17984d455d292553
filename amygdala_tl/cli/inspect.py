"""`inspect`: description of a bundle, with a check that it is whole."""

from pathlib import Path
from typing import Annotated

import typer

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import print_json, printer


def inspect(
    readout: Annotated[Path, typer.Argument(help="The bundle's .safetensors file, or hf://owner/name.")],
    as_json: options.Json = False,
) -> None:
    """Describe a readout bundle and check that it is whole."""
    from amygdala_tl.readout.bundle import outputs, read_bundle
    from amygdala_tl.readout.hub import on_disk
    from amygdala_tl.report.bundle import bundle_summary

    readout = on_disk(readout)
    manifest, _vectors, written = read_bundle(readout)
    erases = "erase_read" in written
    files = [file for file in outputs(readout) if file.exists()]
    if as_json:
        print_json({"files": files, "write_vectors": "write" in written, "erases": erases, "manifest": manifest})
    else:
        printer().print(bundle_summary(manifest, files, writes="write" in written, erases=erases))
