"""Counts of the plugin in the server's own `/metrics`.

They are plain `prometheus_client` metrics in its default registry. vLLM serves that registry or, if PROMETHEUS_MULTIPROC_DIR is
set, the files of all processes; these metrics are in both. Their names do not begin with `vllm:`, because vLLM removes such
metrics from the registry when it starts.
"""

from typing import Any

from amygdala_tl.vllm.store import Store

_Table = dict[str, tuple[str, dict[str, tuple[str, ...]]]]
"""Name -> help, and the values of its label, each of which is counted apart."""

_DROPPED = "Rows of scores that were dropped: of cancelled and old requests, computed again, or past a request's end."
_MISSING = "Positions of finished requests without scores: from the prefix cache, or lost."
_FAILURES = "Failures while serving; they do not change generation."
_COUNTERS: _Table = {
    "tokens_read": ("Token positions whose scores have arrived.", {}),
    "rows_forgotten": (_DROPPED, {}),
    "stream_readers_dropped": ("Readers of the stream that fell too far behind and were dropped.", {}),
    "positions_missing": (_MISSING, {"reason": ("cached", "lost")}),
    "failures": (_FAILURES, {"where": ("engine", "receive", "answer")}),
}
_GAUGES: _Table = {
    "rows": ("Rows of scores held now.", {}),
    "sequences": ("Sequences that are running, or kept for later requests.", {"state": ("running", "kept")}),
    "stream_readers": ("Readers of the stream.", {}),
}


class Metrics:
    """Metrics of a serving process, made once; a metric without a label goes by its name, the others by their label's values."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge

        self._counters = _made(_COUNTERS, Counter)
        self._gauges = _made(_GAUGES, Gauge, multiprocess_mode="mostrecent")
        self._seen: dict[str, int] = {}

    def follow(self, store: Store) -> None:
        """Add what `store` has counted since the last call."""
        counts = {"tokens_read": store.taken, "rows_forgotten": store.forgotten}
        counts |= {"cached": store.missing_cached, "lost": store.missing_lost}
        for name, value in counts.items():
            self.count(name, value - self._seen.get(name, 0))
        self._seen = counts
        for name, value in {"rows": store.held, "running": len(store.running), "kept": len(store.done)}.items():
            self.show(name, value)

    def count(self, name: str, times: int = 1) -> None:
        """Count something that happened `times` more."""
        self._counters[name].inc(times)

    def show(self, name: str, number: int) -> None:
        """Set a number that rises and falls."""
        self._gauges[name].set(number)


def _made(table: _Table, kind: Any, **options: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, (said, labels) in table.items():
        metric = kind(f"amygdala_tl_{name}", said, list(labels), **options)
        made |= {value: metric.labels(**{label: value}) for label, values in labels.items() for value in values}
        made |= {} if labels else {name: metric}
    return made
