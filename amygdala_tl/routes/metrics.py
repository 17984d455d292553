"""Counts of the readouts for a server's `/metrics`, in the text format of Prometheus."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

from amygdala_tl.routes.store import Store

Table = dict[str, tuple[str, dict[str, tuple[str, ...]]]]
"""Name -> help, and the values of its label, each of which is counted apart."""

_DROPPED = "Rows of scores that were dropped: of cancelled and old requests, computed again, or past a request's end."
_MISSING = "Positions of finished requests without scores: from the prefix cache, or lost."
_FAILURES = "Failures while serving; they do not change generation."
COUNTERS: Table = {
    "tokens_read": ("Token positions whose scores have arrived.", {}),
    "rows_forgotten": (_DROPPED, {}),
    "stream_readers_dropped": ("Readers of the stream that fell too far behind and were dropped.", {}),
    "positions_missing": (_MISSING, {"reason": ("cached", "lost")}),
    "failures": (_FAILURES, {"where": ("engine", "receive", "answer", "alert")}),
}
ALERT_COUNTERS: Table = {
    "alert_webhook": (
        "Events of alerts for the webhook, by what became of them.",
        {"outcome": ("sent", "failed", "dropped")},
    ),
    "alert_readers_dropped": ("Readers of events that fell too far behind and were dropped.", {}),
}
GAUGES: Table = {
    "rows": ("Rows of scores held now.", {}),
    "sequences": ("Sequences that are running, or kept for later requests.", {"state": ("running", "kept")}),
    "stream_readers": ("Readers of the stream.", {}),
}
ALERT_GAUGES: Table = {"alert_readers": ("Readers of events.", {})}
PREFIX = "amygdala_tl_"


class Metrics(ABC):
    """Metrics of a serving process; a metric without a label goes by its name, the others by their label's values."""

    def __init__(self, rules: Sequence[str] = ()) -> None:
        """Start at zero; the events of each of `rules` are counted apart.

        Attributes:
            counters, gauges: the metrics there are.
        """
        self._seen: dict[str, int] = {}
        self.counters, self.gauges = COUNTERS, GAUGES
        if rules:
            fired: Table = {"alerts": ("Events of alerts.", {"rule": tuple(rules)})}
            self.counters, self.gauges = COUNTERS | fired | ALERT_COUNTERS, GAUGES | ALERT_GAUGES

    @abstractmethod
    def count(self, name: str, times: int = 1) -> None:
        """Count something that happened `times` more."""

    @abstractmethod
    def show(self, name: str, number: int) -> None:
        """Set a number that rises and falls."""

    def follow(self, store: Store) -> None:
        """Add what `store` has counted since the last call."""
        counts = {"tokens_read": store.taken, "rows_forgotten": store.forgotten}
        counts |= {"cached": store.missing_cached, "lost": store.missing_lost}
        for name, value in counts.items():
            self.count(name, value - self._seen.get(name, 0))
        self._seen = counts
        for name, value in {"rows": store.held, "running": len(store.running), "kept": len(store.done)}.items():
            self.show(name, value)


@final
class TextMetrics(Metrics):
    """Metrics that this process writes itself, for a server without a client of Prometheus."""

    def __init__(self, rules: Sequence[str] = ()) -> None:
        super().__init__(rules)
        names = {name: labels for table in (self.counters, self.gauges) for name, (_, labels) in table.items()}
        keys = [
            key for name, labels in names.items() for key in (*sum(labels.values(), ()), *([] if labels else [name]))
        ]
        self._numbers = dict.fromkeys(keys, 0)

    def count(self, name: str, times: int = 1) -> None:
        self._numbers[name] += times

    def show(self, name: str, number: int) -> None:
        self._numbers[name] = number

    def text(self) -> str:
        """Return all metrics in the text format of Prometheus."""
        lines = []
        for table, kind, ending in ((self.counters, "counter", "_total"), (self.gauges, "gauge", "")):
            for name, (said, labels) in table.items():
                whole = f"{PREFIX}{name}{ending}"
                lines += [f"# HELP {whole} {said}", f"# TYPE {whole} {kind}"]
                lines += [] if labels else [f"{whole} {self._numbers[name]}"]
                for label, values in labels.items():
                    lines += [f'{whole}{{{label}="{_escaped(value)}"}} {self._numbers[value]}' for value in values]
        return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
