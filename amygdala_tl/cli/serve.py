"""`serve`: a server on TransformerLens that shows the readout of every token."""

import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import command_line, printer
from amygdala_tl.errors import InputError
from amygdala_tl.settings import SERVE


def serve(
    readout: options.ReadoutFile = options.READOUT,
    model: options.ModelOption = None,
    host: Annotated[str, typer.Option(help="Address to listen at; AMYGDALA_SERVE_KEY sets an API key.")] = SERVE.host,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = SERVE.port,
    alert: Annotated[
        list[str] | None,
        typer.Option(help="Raise an alert when a concept's score rises: `grief>3@window=64`; may be given again."),
    ] = None,
    alerts: Annotated[
        Path | None, typer.Option(help="File of alerts, as `thresholds` writes it.", show_default=False)
    ] = None,
    alert_webhook: Annotated[
        str | None, typer.Option(help="Address that gets every event of an alert, as JSON.")
    ] = None,
    metrics_concepts: Annotated[
        str | None, typer.Option(help="Comma-separated concepts with metrics of their own, at most 32.")
    ] = None,
) -> None:
    """Chat with the readout's model in a browser, or with OpenAI's client, and see every token's scores; steer it."""
    try:
        from amygdala_tl.net.loopback import check_port, running_app
        from amygdala_tl.routes.concepts import metrics_rules
        from amygdala_tl.routes.rules import caution, checked_rules, rule_of, rules_of_file
        from amygdala_tl.routes.steer import NO_ERASURES
        from amygdala_tl.routes.webhook import check_webhook
        from amygdala_tl.serve.app import readout_app
        from amygdala_tl.serve.guard import LOCAL_NAMES, key_from_environment
    except ModuleNotFoundError as cause:
        what, remedy = "the server needs packages that are not installed", "run `pip install 'amygdala-tl[serve]'`"
        raise InputError(what, got=cause.name, remedy=remedy) from cause
    from amygdala_tl.api.models import lens_of
    from amygdala_tl.readout.record import load_readout

    host = "127.0.0.1" if host == "localhost" else host
    key, local, bundle = key_from_environment(), host in LOCAL_NAMES, load_readout(readout)
    rules = [*(rule_of(each) for each in alert or []), *(rules_of_file(alerts) if alerts else ())]
    rules = list(checked_rules(rules, bundle))
    check_webhook(alert_webhook, len(rules))
    counted = [rule.concept for rule in metrics_rules((metrics_concepts or "").split(","), bundle)]
    check_port(host, port)  # mistakes come before the model, which takes long
    said, lens = [str(rule) for rule in rules], lens_of(bundle, model)
    app = readout_app(
        bundle, lens, key=key, local=local, alerts=said, alert_webhook=alert_webhook, metrics_concepts=counted
    )
    console = printer()
    with running_app(app, host=host, port=port) as url:
        console.print(f"{bundle!r}", soft_wrap=True)
        console.print(f"open {url} in a browser, or run `{command_line('watch', url)}`", soft_wrap=True)
        if bundle.erasing is None:
            console.print(NO_ERASURES, soft_wrap=True)
        if said:
            console.print(f"alerts: {', '.join(said)}; events are at {url}/v1/readout/events", soft_wrap=True)
        if (known := caution(rules, bundle)) is not None:
            console.print(known, soft_wrap=True)
        if key is None and not local:
            console.print("whoever reaches this address may use it; AMYGDALA_SERVE_KEY sets a key", soft_wrap=True)
        sys.stdout.flush()  # a parent process may wait for the address at a pipe
        threading.Event().wait()  # until Ctrl-C or SIGTERM
