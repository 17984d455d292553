"""Counts of the plugin in the server's own `/metrics`.

They are plain `prometheus_client` metrics in its default registry. vLLM serves that registry or, if PROMETHEUS_MULTIPROC_DIR is
set, the files of all processes; these metrics are in both. Their names do not begin with `vllm:`, because vLLM removes such
metrics from the registry when it starts.
"""

from typing import Any, final

from amygdala_tl.routes.metrics import COUNTERS, GAUGES, PREFIX, Metrics, Table


@final
class PrometheusMetrics(Metrics):
    """Metrics of a serving process, made once."""

    def __init__(self) -> None:
        super().__init__()
        from prometheus_client import Counter, Gauge

        self._counters = _made(COUNTERS, Counter)
        self._gauges = _made(GAUGES, Gauge, multiprocess_mode="mostrecent")

    def count(self, name: str, times: int = 1) -> None:
        self._counters[name].inc(times)

    def show(self, name: str, number: int) -> None:
        self._gauges[name].set(number)


def _made(table: Table, kind: Any, **options: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, (said, labels) in table.items():
        metric = kind(f"{PREFIX}{name}", said, list(labels), **options)
        made |= {value: metric.labels(**{label: value}) for label, values in labels.items() for value in values}
        made |= {} if labels else {name: metric}
    return made
