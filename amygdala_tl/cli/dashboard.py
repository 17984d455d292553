"""`dashboard`: what to show of a server's metrics, and what to be alerted about."""

from typing import Annotated

import typer
from rich.text import Text

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import print_json, printer


def dashboard(
    readout: options.ReadoutFile = options.READOUT,
    concepts: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated concepts, those of the server's --metrics-concepts.",
            show_default="no panels of concepts",
        ),
    ] = None,
    rules: Annotated[bool, typer.Option("--rules", help="Print alerting rules for Prometheus instead.")] = False,
) -> None:
    """Print a Grafana dashboard as JSON, or Prometheus alerting rules, for the metrics of a server."""
    from amygdala_tl.readout.record import load_readout
    from amygdala_tl.routes.concepts import metrics_rules
    from amygdala_tl.routes.dashboard import grafana_dashboard, prometheus_rules

    named = [rule.concept for rule in metrics_rules(concepts.split(","), load_readout(readout))] if concepts else []
    if rules:
        printer().print(Text(prometheus_rules(named)), end="", soft_wrap=True)
    else:
        print_json(grafana_dashboard(named))
