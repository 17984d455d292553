"""A Grafana dashboard and Prometheus alerting rules, of the metrics that a server has."""

import json
from collections.abc import Sequence
from typing import Any

from amygdala_tl.routes.metrics import ANY, PREFIX

STRONG = 3
"""z above which a token counts as strong, one of `metrics.EDGES`."""

_OFTEN = 0.05  # share of strong tokens of a concept that is worth an alert; ordinary text has about .001
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_COLUMNS, _HEIGHT = 2, 8


def grafana_dashboard(concepts: Sequence[str], title: str = "Readouts") -> dict[str, Any]:
    """Return a dashboard, to import into Grafana as JSON.

    Args:
        concepts: those with metrics; without any, the dashboard has no panels of concepts.
        title: of the dashboard.
    """
    panels = [
        _panel("Tokens read per second", f"rate({PREFIX}tokens_read_total[1m])", "tokens"),
        _panel("Sequences", f"{PREFIX}sequences", "{{state}}"),
        _panel("Events of alerts", f"sum by (rule) (increase({PREFIX}alerts_total[5m]))", "{{rule}}"),
        _panel("Webhook", f"sum by (outcome) (increase({PREFIX}alert_webhook_total[5m]))", "{{outcome}}"),
        _panel("Failures", f"sum by (where) (increase({PREFIX}failures_total[5m]))", "{{where}}"),
        _panel("Readers of the stream", f"{PREFIX}stream_readers", "readers"),
    ]
    if concepts:
        of = _selector(concepts)
        panels = [
            _panel("z of the last tokens", f"{PREFIX}concept_z{{{of}}}", "{{concept}}"),
            _panel(f"Share of tokens above {STRONG} z", _share(of), "{{concept}}", "percentunit"),
            _areas("Tokens of $concept by z", _shares(), "above {{above}}"),
            *panels,
        ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        width = 24 // _COLUMNS
        panel |= {"id": number + 1, "gridPos": {"h": _HEIGHT, "w": width, "x": column * width, "y": row * _HEIGHT}}
    variables: list[dict[str, Any]] = [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    ]
    if concepts:
        query = f"label_values({PREFIX}concept_tokens_total{{{_selector(concepts)}}}, concept)"
        chosen = {"name": "concept", "label": "Concept", "type": "query", "query": query}
        variables.append(chosen | {"datasource": _SOURCE, "refresh": 1})  # read when the dashboard opens
    return {
        "title": title, "uid": "amygdala-tl", "tags": ["amygdala-tl"], "schemaVersion": 39, "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"}, "templating": {"list": variables}, "panels": panels,
    }  # fmt: skip


def prometheus_rules(concepts: Sequence[str]) -> str:
    """Return a file of alerting rules in YAML: what an operator wants to know of a server and of these concepts."""
    rules = [
        ("ReadoutAlert", f"sum by (rule) (increase({PREFIX}alerts_total[5m])) > 0", "0m", "{{ $labels.rule }} has fired"),
        ("ReadoutFailures", f"sum by (where) (increase({PREFIX}failures_total[5m])) > 0", "0m",
         "readouts fail ({{ $labels.where }}); generation goes on"),
        ("ReadoutWebhookFailing", f'sum(increase({PREFIX}alert_webhook_total{{outcome=~"failed|dropped"}}[10m])) > 0', "0m",
         "the webhook misses events of alerts"),
        ("ReadoutPositionsLost", f'increase({PREFIX}positions_missing_total{{reason="lost"}}[10m]) > 0', "0m",
         "scores of some positions have not arrived"),
    ]  # fmt: skip
    if concepts:
        what = f"more than {_OFTEN:.0%} of the tokens read {{{{ $labels.concept }}}} above {STRONG} z"
        rules.append(("ReadoutConceptStrong", f"{_share(_selector(concepts))} > {_OFTEN}", "10m", what))
    lines = ["groups:", "  - name: amygdala-tl", "    rules:"]
    for name, expression, wait, summary in rules:
        lines += [
            f"      - alert: {name}",
            f"        expr: {json.dumps(expression)}",  # a string of JSON is one of YAML
            f"        for: {wait}",
            "        annotations:",
            f"          summary: {json.dumps(summary)}",
        ]
    return "\n".join(lines) + "\n"


def _panel(title: str, expression: str, legend: str, unit: str = "short") -> dict[str, Any]:
    target = {"refId": "A", "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
    field = {"defaults": {"unit": unit}, "overrides": []}
    return {"type": "timeseries", "title": title, "datasource": _SOURCE, "targets": [target], "fieldConfig": field}


def _areas(title: str, expression: str, legend: str) -> dict[str, Any]:
    """Return a panel of shares as areas, each a part of another one."""
    panel = _panel(title, expression, legend, "percentunit")
    panel["fieldConfig"]["defaults"] |= {"min": 0, "max": 1, "custom": {"fillOpacity": 30}}
    return panel


def _selector(concepts: Sequence[str]) -> str:
    """Return a matcher of some concepts: the values of a label are escaped for a regular expression, and that for a string."""
    special = set(r"\.+*?()|[]{}^$")
    either = "|".join("".join(f"\\{letter}" if letter in special else letter for letter in name) for name in concepts)
    return f"concept=~{json.dumps(either, ensure_ascii=False)}"


def _shares() -> str:
    """Return the share of tokens above each edge, of the concept that is chosen in the dashboard."""
    rate = f"rate({PREFIX}concept_tokens_total{{concept=${{concept:doublequote}},above%s}}[5m])"
    parts, whole = (rate % f'{sign}"{ANY}"' for sign in ("!=", "="))
    return f"sum by (above) ({parts}) / scalar(sum({whole}))"


def _share(of: str) -> str:
    strong, every = (
        f'sum by (concept) (rate({PREFIX}concept_tokens_total{{{of},above="{edge}"}}[5m]))' for edge in (STRONG, ANY)
    )
    return f"{strong} / {every}"
