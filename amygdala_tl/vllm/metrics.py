"""Counts of the plugin in the server's own `/metrics`.

They are plain `prometheus_client` metrics in its default registry. vLLM serves that registry or, if PROMETHEUS_MULTIPROC_DIR is
set, the files of all processes; these metrics are in both. Their names do not begin with `vllm:`, because vLLM removes such
metrics from the registry when it starts.
"""

from collections.abc import Sequence
from typing import Any, final

from amygdala_tl.routes.metrics import PREFIX, Key, Metrics, Table, series


@final
class PrometheusMetrics(Metrics):
    """Metrics of a serving process, made once."""

    def __init__(self, rules: Sequence[str] = (), concepts: Sequence[str] = ()) -> None:
        super().__init__(rules, concepts)
        from prometheus_client import Counter, Gauge

        self._counters = _made(self.counters, Counter)
        self._gauges = _made(self.gauges, Gauge, multiprocess_mode="mostrecent")

    def count(self, name: Key, times: int = 1) -> None:
        self._counters[name].inc(times)

    def show(self, name: Key, number: int | float) -> None:
        self._gauges[name].set(number)


def _made(table: Table, kind: Any, **options: str) -> dict[Key, Any]:
    made: dict[Key, Any] = {}
    for name, (said, labels) in table.items():
        metric = kind(f"{PREFIX}{name}", said, list(labels), **options)
        made |= {key: metric.labels(**own) if own else metric for key, own in series(name, labels)}
    return made
