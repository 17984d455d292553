"""Counts of the plugin in the server's own `/metrics`.

They are plain `prometheus_client` metrics in its default registry. vLLM serves that registry or, if PROMETHEUS_MULTIPROC_DIR is
set, the files of all processes; these metrics are in both. Their names do not begin with `vllm:`, because vLLM removes such
metrics from the registry when it starts.
"""

from typing import Any

from amygdala_tl.vllm.store import Store

_COUNTERS = {
    "tokens_read": "Token positions whose scores have arrived.",
    "rows_forgotten": "Rows of scores that were dropped: of cancelled and old requests, computed again, or past a request's end.",
    "stream_events_missed": "Events that slow readers of the stream have missed.",
}
_MISSING = "Positions of finished requests without scores: from the prefix cache, or lost."
_FAILURES = "Failures while serving; they do not change generation."


class Metrics:
    """Metrics of a serving process, made once."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge

        self._counters = {name: Counter(f"amygdala_tl_{name}", said) for name, said in _COUNTERS.items()}
        missing = Counter("amygdala_tl_positions_missing", _MISSING, ["reason"])
        self._counters |= {reason: missing.labels(reason=reason) for reason in ("cached", "lost")}
        failures = Counter("amygdala_tl_failures", _FAILURES, ["where"])
        self._failures = {where: failures.labels(where=where) for where in ("engine", "receive", "answer")}
        self._rows = Gauge("amygdala_tl_rows", "Rows of scores held now.", multiprocess_mode="mostrecent")
        sequences = Gauge(
            "amygdala_tl_sequences", "Sequences that are running, or kept for later requests.", ["state"],
            multiprocess_mode="mostrecent",
        )  # fmt: skip
        self._running, self._kept = (sequences.labels(state=state) for state in ("running", "kept"))
        self._readers = Gauge("amygdala_tl_stream_readers", "Readers of the stream.", multiprocess_mode="mostrecent")
        self._seen: dict[str, int] = {}

    def follow(self, store: Store) -> None:
        """Add what `store` has counted since the last call."""
        self._grow("tokens_read", store.taken)
        self._grow("rows_forgotten", store.forgotten)
        self._grow("cached", store.missing_cached)
        self._grow("lost", store.missing_lost)
        self._rows.set(store.held)
        self._running.set(len(store.running))
        self._kept.set(len(store.done))

    def failed(self, where: str, times: int) -> None:
        """Count failures."""
        self._failures[where].inc(times)

    def missed(self) -> None:
        """Count an event that a slow reader of the stream missed."""
        self._counters["stream_events_missed"].inc()

    def readers(self, number: int) -> None:
        """Set the number of readers of the stream."""
        self._readers.set(number)

    def _grow(self, name: str, value: int) -> None:
        grown = value - self._seen.get(name, 0)
        if grown:
            counter: Any = self._counters[name]
            counter.inc(grown)
            self._seen[name] = value
