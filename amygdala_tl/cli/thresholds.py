"""`thresholds`: where alerts should fire."""

import re
from pathlib import Path
from typing import Annotated

import typer

from amygdala_tl.cli import options
from amygdala_tl.cli.inputs import texts_in_order
from amygdala_tl.cli.printer import notes, print_json, printer
from amygdala_tl.errors import InputError
from amygdala_tl.files import check_outputs
from amygdala_tl.settings import ALERT, SERVE

_UNITS = {"s": 1, "m": 60, "h": 3600}


def thresholds(
    readout: options.ReadoutFile = options.READOUT,
    texts: Annotated[
        Path | None, typer.Option(help="File of quiet texts; or listen to a server.", show_default=False)
    ] = None,
    from_stream: Annotated[
        str | None, typer.Option(help="Listen to a server for this long: 90s, 10m, 2h.", show_default=False)
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="Address of the server; AMYGDALA_VLLM_TOKEN holds its API key.",
            show_default=f"that of `serve`, http://{SERVE.host}:{SERVE.port}",
        ),
    ] = None,
    concepts: Annotated[
        str | None, typer.Option(help="Comma-separated concepts.", show_default="all of the readout's")
    ] = None,
    window: Annotated[int, typer.Option(min=1, max=4096, help="Tokens of the alerts' windows.")] = ALERT.window,
    layer: Annotated[
        int | None, typer.Option(help="Layer that the alerts read.", show_default="all layers in one score")
    ] = None,
    false_alarms: Annotated[
        float, typer.Option(help="Share of quiet turns that may raise an alert.")
    ] = ALERT.false_alarms,
    output: Annotated[
        Path | None, typer.Option(help="Write the alerts to this file, for `serve --alerts`.", show_default=False)
    ] = None,
    model: options.ModelOption = None,
    as_json: options.Json = False,
) -> None:
    """Choose the thresholds of alerts from quiet turns, for a rate of false alarms."""
    from amygdala_tl.api.thresholds import thresholds as choose
    from amygdala_tl.api.thresholds import write_alerts
    from amygdala_tl.readout.record import load_readout
    from amygdala_tl.report.thresholds import thresholds_table
    from amygdala_tl.routes.rules import ALERTS

    if output is not None:
        check_outputs({output: ALERTS}, [readout, readout.with_suffix(".json"), texts])
    if (texts is None) == (from_stream is None) or (from_stream is None and url is not None):
        need = "--texts, or --from-stream with --url"
        raise InputError("turns come from texts or from a server", need=need, remedy="give one of the two")
    seconds = ALERT.seconds if from_stream is None else _seconds(from_stream)
    bundle, lines = load_readout(readout), None if texts is None else texts_in_order(texts, "--texts")
    if from_stream is not None:
        url = url or f"http://{SERVE.host}:{SERVE.port}"
        notes(error=as_json).print(f"listening to {url} for {from_stream}", soft_wrap=True)
    found = choose(
        bundle,
        lines,
        model,
        url=url,
        seconds=seconds,
        concepts=None if concepts is None else concepts.split(","),
        window=window,
        layer=layer,
        false_alarms=false_alarms,
    )
    if as_json:
        print_json(found)
    else:
        printer().print(thresholds_table(found))
    if output is not None:
        write_alerts(output, found)


def _seconds(said: str) -> float:
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh])", said)
    if found is None:
        raise InputError("not a time", label="--from-stream", got=said, need="90s, 10m or 2h", remedy="write it so")
    return float(found[1]) * _UNITS[found[2]]
