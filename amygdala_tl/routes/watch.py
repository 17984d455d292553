"""Watch over running sequences: each newly generated token's scores go through the running windows, to alerts and metrics.

Only positions that a generated token was sampled from count, each once: not the prompt, not what is computed again after
preemption, not the first position of all, an attention sink.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.alerts import Alerts
from amygdala_tl.routes.concepts import ConceptMetrics
from amygdala_tl.routes.metrics import Metrics
from amygdala_tl.routes.running import RunningWindows
from amygdala_tl.routes.store import Arrival, Entry, Step

logger = logging.getLogger("amygdala_tl.alerts")


@dataclass(slots=True)
class _Watched:
    """Where a sequence has its windows, and the first position that it has not shown yet."""

    place: int
    next: int


class Watch:
    """Takes rows as they arrive in the store; see `Store.watcher`."""

    def __init__(
        self, readout: Readout, alerts: Alerts | None, concepts: ConceptMetrics | None, metrics: Metrics
    ) -> None:
        """Watch for alerts, for metrics of concepts, or both."""
        self._alerts, self._concepts, self._metrics = alerts, concepts, metrics
        rules = () if alerts is None else alerts.rules
        self._n_rules = len(rules)
        self._failed = False
        self._windows = RunningWindows(readout, [*rules, *(() if concepts is None else concepts.rules)])
        self._watched: dict[str, _Watched] = {}

    def __len__(self) -> int:
        """Return the number of sequences with windows."""
        return len(self._watched)

    def arrived(self, step: Step, finite: npt.NDArray[np.bool_], arrivals: Sequence[Arrival]) -> None:
        """Look at the new tokens among the rows of a step. A failure is counted and logged once; generation goes on.

        Args:
            step: the rows.
            finite: which of them are finite.
            arrivals: sequences with rows behind their prompts: each with its first row and the one behind its last.
        """
        try:
            self._look_at(step, finite, arrivals)
        except Exception as cause:
            self._metrics.count("alert")
            if not self._failed:
                self._failed = True
                logger.exception(
                    "alerts: failure; generation continues, and further failures are only counted: %r", cause
                )

    def ended(self, entry: Entry) -> None:
        """Forget a sequence."""
        if watched := self._watched.pop(entry.engine_id, None):
            self._windows.close(watched.place)
            if self._concepts is not None and not self._watched:
                self._concepts.write()

    def _look_at(self, step: Step, finite: npt.NDArray[np.bool_], arrivals: Sequence[Arrival]) -> None:
        rounds: list[list[tuple[Entry, int]]] = []  # each sequence has one row in a round, almost always the only one
        for entry, start, stop in arrivals:
            watched = self._watched.get(entry.engine_id) or self._begin(entry)
            fresh = 0
            for row in range(start, stop):
                if step.positions[row] >= watched.next and finite[row]:
                    if fresh == len(rounds):
                        rounds.append([])
                    rounds[fresh].append((entry, row))
                    fresh += 1
            watched.next = max(watched.next, int(step.positions[stop - 1]) + 1)
        for found in rounds:
            self._look(step, [entry for entry, _ in found], [row for _, row in found])

    def _begin(self, entry: Entry) -> _Watched:
        watched = _Watched(self._windows.open(), max(1, len(entry.prompt_ids) - 1))
        self._watched[entry.engine_id] = watched
        if self._alerts is not None:
            self._alerts.begin(watched.place)
        return watched

    def _look(self, step: Step, entries: list[Entry], rows: list[int]) -> None:
        places = np.array([self._watched[entry.engine_id].place for entry in entries])
        z, held = self._windows.push(places, step.scores[rows])
        if self._alerts is not None:
            own = slice(self._n_rules)
            self._alerts.look(entries, step.positions[rows].tolist(), places, z[:, own], held[:, own])
        if self._concepts is not None:
            self._concepts.look(z[:, self._n_rules :])
