"""`verify`: is layer i of a bundle layer i of the server?"""

from typing import Annotated, Literal

import typer
from rich.console import Console

from amygdala_tl.cli import options


def verify(
    readout: options.ReadoutFile = options.READOUT,
    engine: Annotated[
        Literal["auto", "vllm", "hf"],
        typer.Option(help="Compare with this engine; auto: with both, where vLLM is installed."),
    ] = "auto",
    model: options.ModelOption = None,
    dtype: Annotated[str, typer.Option(help="float32, bf16 or fp16; only float32 is a proof by number.")] = "float32",
    trust_remote_code: options.TrustRemoteCode = False,
) -> None:
    """Run fixed tokens through TransformerLens, Hugging Face and vLLM, and compare the stream at every layer of a bundle."""
    from amygdala_tl.api.verify import verify as run_verify
    from amygdala_tl.report.verification import verification_table

    found = run_verify(readout, engine=engine, model=model, dtype=dtype, trust_remote_code=trust_remote_code)
    Console(highlight=False).print(verification_table(found))
    if not found.passed:
        raise typer.Exit(1)
