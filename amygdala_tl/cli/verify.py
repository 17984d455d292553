"""`verify`: is layer i of a bundle layer i of the server?"""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import notes, print_json, printer
from amygdala_tl.cli.stages import show_serving


def verify(
    readout: options.ReadoutFile = options.READOUT,
    engine: Annotated[
        Literal["auto", "vllm", "hf"],
        typer.Option(help="Engine to compare with; auto: both, if vLLM is installed."),
    ] = "auto",
    model: options.ModelOption = None,
    dtype: Annotated[
        str, typer.Option(help="float32, bf16 or fp16. Only float32 has a tolerance that tells layers apart.")
    ] = "float32",
    trust_remote_code: options.TrustRemoteCode = False,
    as_json: options.Json = False,
) -> None:
    """Check that layer i of a bundle is layer i in TransformerLens, Hugging Face and vLLM."""
    from amygdala_tl.api.verify import verify as run_verify
    from amygdala_tl.report.verification import verification_table

    found = run_verify(readout, engine=engine, model=model, dtype=dtype, trust_remote_code=trust_remote_code)
    if as_json:
        print_json({"passed": found.passed, **asdict(found)})
    else:
        printer().print(verification_table(found))
    if not found.passed:
        raise typer.Exit(1)
    show_serving(notes(error=as_json), readout, found.model)
