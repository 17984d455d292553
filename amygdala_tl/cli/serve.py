"""`serve`: a server on TransformerLens that shows the readout of every token."""

import sys
import threading
from typing import Annotated

import typer

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import printer
from amygdala_tl.errors import InputError
from amygdala_tl.settings import SERVE


def serve(
    readout: options.ReadoutFile = options.READOUT,
    model: options.ModelOption = None,
    host: Annotated[str, typer.Option(help="Address to listen at; AMYGDALA_SERVE_KEY sets an API key.")] = SERVE.host,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = SERVE.port,
) -> None:
    """Chat with the readout's model in a browser, or with OpenAI's client, and see every token's scores; steer it."""
    try:
        from amygdala_tl.net.loopback import check_port, running_app
        from amygdala_tl.serve.app import readout_app
        from amygdala_tl.serve.guard import LOCAL_NAMES, key_from_environment
    except ModuleNotFoundError as cause:
        what, remedy = "the server needs packages that are not installed", "run `pip install 'amygdala-tl[serve]'`"
        raise InputError(what, got=cause.name, remedy=remedy) from cause
    from amygdala_tl.api.models import lens_of
    from amygdala_tl.readout.record import load_readout

    host = "127.0.0.1" if host == "localhost" else host
    key, local, bundle = key_from_environment(), host in LOCAL_NAMES, load_readout(readout)
    check_port(host, port)  # mistakes come before the model, which takes long
    app = readout_app(bundle, lens_of(bundle, model), key=key, local=local)
    console = printer()
    with running_app(app, host=host, port=port) as url:
        console.print(f"{bundle!r}", soft_wrap=True)
        console.print(f"open {url} in a browser, or run `amygdala-tl watch {url}`", soft_wrap=True)
        if key is None and not local:
            console.print("whoever reaches this address may use it; AMYGDALA_SERVE_KEY sets a key", soft_wrap=True)
        sys.stdout.flush()  # a parent process may wait for the address at a pipe
        threading.Event().wait()  # until Ctrl-C or SIGTERM
