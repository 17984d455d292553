"""`watch`: the live view of a running server."""

import sys
from typing import Annotated

import typer

from amygdala_tl.errors import InputError


def watch(
    url: Annotated[
        str,
        typer.Argument(
            help="Address of `serve` or of a vLLM server, http://host:port; AMYGDALA_VLLM_TOKEN holds its API key."
        ),
    ],
) -> None:
    """Show the strongest concepts of each token that a server generates, live and full-screen."""
    from amygdala_tl.live.client import readout_client

    client = readout_client(url)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError(
            "watch needs a terminal",
            need="a terminal as input and output",
            remedy="run it without pipes, or use `amygdala_tl.readout_client` in a program",
        )
    from amygdala_tl.live.screen import WatchApp

    app = WatchApp(client)
    app.run(mouse=False)  # the mouse stays the terminal's, to select text with
    raise typer.Exit(app.return_code or 0)
