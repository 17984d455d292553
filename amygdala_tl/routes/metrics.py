"""Counts of the readouts for a server's `/metrics`, in the text format of Prometheus."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import final

from amygdala_tl.routes.store import Store
from amygdala_tl.settings import ALERT

Table = dict[str, tuple[str, dict[str, tuple[str, ...]]]]
"""Name -> help, and the values of each of its labels, all combinations of which are counted apart."""

Key = str | tuple[str, ...]
"""Of a number: the metric's name, or the value of its label, or the values of its labels."""

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
EDGES, ANY = (-4, -3, -2, -1, 0, 1, 2, 3, 4), "any"
"""Thresholds of z that tokens of a concept are counted by, and the label of all tokens with a z."""

_TOKENS = f"Generated tokens by the z of the last {ALERT.window} tokens' mean that they end."
_Z = f"Mean of the z of the last {ALERT.window} tokens, over the tokens of the last second with any."
PREFIX = "amygdala_tl_"


def series(name: str, labels: dict[str, tuple[str, ...]]) -> Iterator[tuple[Key, dict[str, str]]]:
    """Yield the key of every number of a metric, and its labels."""
    for values in itertools.product(*labels.values()):
        key: Key = name if not values else values[0] if len(values) == 1 else values
        yield key, dict(zip(labels, values, strict=True))


class Metrics(ABC):
    """Metrics of a serving process."""

    def __init__(self, rules: Sequence[str] = (), concepts: Sequence[str] = ()) -> None:
        """Start at zero; the events of each of `rules` are counted apart, and the tokens of each of `concepts`.

        Attributes:
            counters, gauges: the metrics there are.
        """
        self._seen: dict[str, int] = {}
        self.counters, self.gauges = COUNTERS, GAUGES
        if rules:
            fired: Table = {"alerts": ("Events of alerts.", {"rule": tuple(rules)})}
            self.counters, self.gauges = COUNTERS | fired | ALERT_COUNTERS, GAUGES | ALERT_GAUGES
        if concepts:
            name, window = {"concept": tuple(concepts)}, {"window": (str(ALERT.window),)}
            self.counters = self.counters | {"concept_tokens": (_TOKENS, {**name, "above": (ANY, *map(str, EDGES))})}
            self.gauges = self.gauges | {"concept_z": (_Z, {**name, **window})}

    @abstractmethod
    def count(self, name: Key, times: int = 1) -> None:
        """Count something that happened `times` more."""

    @abstractmethod
    def show(self, name: Key, number: int | float) -> None:
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

    def __init__(self, rules: Sequence[str] = (), concepts: Sequence[str] = ()) -> None:
        super().__init__(rules, concepts)
        self._numbers: dict[Key, int | float] = {
            key: 0
            for table in (self.counters, self.gauges)
            for name, (_, labels) in table.items()
            for key, _ in series(name, labels)
        }

    def count(self, name: Key, times: int = 1) -> None:
        self._numbers[name] += times

    def show(self, name: Key, number: int | float) -> None:
        self._numbers[name] = number

    def text(self) -> str:
        """Return all metrics in the text format of Prometheus."""
        lines = []
        for table, kind, ending in ((self.counters, "counter", "_total"), (self.gauges, "gauge", "")):
            for name, (said, labels) in table.items():
                whole = f"{PREFIX}{name}{ending}"
                lines += [f"# HELP {whole} {said}", f"# TYPE {whole} {kind}"]
                for key, own in series(name, labels):
                    said_of = ",".join(f'{label}="{_escaped(value)}"' for label, value in own.items())
                    lines.append(
                        f"{whole}{{{said_of}}} {self._numbers[key]}" if own else f"{whole} {self._numbers[key]}"
                    )
        return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
