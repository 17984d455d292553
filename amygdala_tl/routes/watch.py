"""Watch over running sequences: the scores of newly generated tokens go through the running windows, to alerts and metrics.

Only positions that a generated token was sampled from count, each once: not the prompt, not what is computed again after
preemption, not the first position of all, an attention sink.

Rows wait for a second, or until there are many, and are looked at together, which costs much less. Every token still has its
own window.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.alerts import Alerts
from amygdala_tl.routes.concepts import ConceptMetrics
from amygdala_tl.routes.metrics import Metrics
from amygdala_tl.routes.rows import Scores
from amygdala_tl.routes.running import TOGETHER, Places, RunningWindows, Runs
from amygdala_tl.routes.store import Arrival, Entry

logger = logging.getLogger("amygdala_tl.alerts")

PAUSE = 1.0
"""Seconds that a row waits at most, where an event loop runs."""

_AT_ONCE = 256  # rows that are looked at together


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
        self._failed = False
        self._windows = RunningWindows(readout, [*rules, *(() if concepts is None else concepts.rules)])
        n_concepts = 0 if concepts is None else len(concepts.rules)
        self._of_alerts = self._windows.of_rules(0, len(rules))
        self._of_concepts = self._windows.of_rules(len(rules), n_concepts)
        self._watched: dict[str, _Watched] = {}
        self._waiting: list[Scores] = []
        self._places: list[int] = []  # of each row that waits
        self._tokens: list[tuple[int, Entry]] = []  # its position and sequence
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return the number of sequences with windows."""
        return len(self._watched)

    def arrived(
        self,
        positions: list[int],
        scores: Scores,
        finite: npt.NDArray[np.bool_] | None,
        arrivals: Sequence[Arrival],
    ) -> None:
        """Take the new tokens among the rows of a step; see `Watcher`."""
        fresh = []
        for entry, start, stop in arrivals:
            watched = self._watched.get(entry.engine_id) or self._begin(entry)
            for row in range(start, stop):
                if (position := positions[row]) >= watched.next:
                    watched.next = position + 1
                    if finite is None or finite[row]:
                        fresh.append(row)
                        self._places.append(watched.place)
                        self._tokens.append((position, entry))
        if not fresh:
            return
        # An array of a step that is mostly prompts would be held by the few rows of it.
        self._waiting.append(scores if len(fresh) == len(scores) else scores[fresh])
        if len(self._tokens) >= _AT_ONCE:
            self.look()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(PAUSE, self.look)
            except RuntimeError:  # nobody would call
                self.look()

    def ended(self, entry: Entry) -> None:
        """Forget a sequence."""
        if entry.engine_id in self._watched:
            self.look()
            self._windows.close(self._watched.pop(entry.engine_id).place)
            if self._concepts is not None and not self._watched:
                self._concepts.write()

    def look(self) -> None:
        """Look at the rows that wait. A failure is counted and logged once; generation goes on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, places, tokens = self._waiting, self._places, self._tokens
        self._waiting, self._places, self._tokens = [], [], []
        if not tokens:
            return
        try:
            scores, many = np.concatenate(waiting), np.array(places)
            at_once = _AT_ONCE if np.bincount(many).max() <= TOGETHER else TOGETHER
            for start in range(0, len(tokens), at_once):
                part = slice(start, start + at_once)
                self._look(many[part], tokens[part], scores[part])
        except Exception as cause:
            self._metrics.count("alert")
            if not self._failed:
                self._failed = True
                logger.exception(
                    "alerts: failure; generation continues, and further failures are only counted: %r", cause
                )

    def _begin(self, entry: Entry) -> _Watched:
        watched = _Watched(self._windows.open(), max(1, len(entry.prompt_ids) - 1))
        self._watched[entry.engine_id] = watched
        if self._alerts is not None:
            self._alerts.begin(watched.place)
        return watched

    def _look(self, places: Places, tokens: list[tuple[int, Entry]], scores: Scores) -> None:
        order = np.argsort(places, kind="stable")  # the tokens of a sequence side by side
        runs = Runs(places[order])
        z, held = self._windows.push(runs, self._windows.values(scores)[order])
        if self._alerts is not None:
            own = self._of_alerts
            self._alerts.look(runs, [tokens[at] for at in order.tolist()], z[:, own], held[:, own])
        if self._concepts is not None:
            self._concepts.look(z[:, self._of_concepts])
