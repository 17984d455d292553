"""Collector of a serving process: rows come in from an engine, readouts go out to responses, requests and streams."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.alerts import Alerts, alerts_of
from amygdala_tl.routes.concepts import ConceptMetrics, metrics_rules
from amygdala_tl.routes.events import events_of
from amygdala_tl.routes.metrics import Metrics
from amygdala_tl.routes.readers import Readers
from amygdala_tl.routes.rows import Fragment, Weights, rows_per_piece
from amygdala_tl.routes.rules import Rule, checked_rules
from amygdala_tl.routes.store import Entry, Store
from amygdala_tl.routes.watch import Watch

_PATIENCE = 5.0  # seconds to wait for a row that the engine has computed; it usually arrives within milliseconds


class Collector:
    """Keeps rows of the served bundle in a store, and hands them out.

    Attributes:
        readout: the bundle.
        weights: of its score over all layers; None without one.
        metrics, store, readers: see their classes.
        with_text: whether the routes show token ids and text.
        alerts: what has come of the alerts; None for a server without any.
        concepts: metrics of some concepts, or None.
    """

    def __init__(
        self,
        readout: Readout,
        metrics: Metrics,
        *,
        with_text: bool = False,
        alerts: Alerts | None = None,
        concepts: ConceptMetrics | None = None,
    ) -> None:
        self.readout = readout
        self.weights = _weights(readout)
        self.metrics = metrics
        self.with_text = with_text
        self.store = Store(changed=metrics.follow)
        self.readers = Readers(metrics)
        self.alerts = alerts
        self.concepts = concepts
        self._watch: Watch | None = None

    def watch(self) -> None:
        """Look out for alerts, and count what metrics of concepts show, from now on."""
        if self.alerts is not None or self.concepts is not None:
            self._watch = Watch(self.readout, self.alerts, self.concepts, self.metrics)
            self.store.watcher = self._watch

    def look(self) -> None:
        """Bring alerts and metrics up to date: rows wait a moment until they are looked at."""
        if self._watch is not None:
            self._watch.look()
        self.metrics.follow(self.store)

    async def of_output(self, entry: Entry, token_ids: Sequence[int], text: str, *, delta: bool) -> Fragment:
        """Return the readouts of generated tokens: the stream that each was sampled from, one position before it.

        `token_ids` and `text` are all that the sequence has generated so far, or what is new if `delta`.
        """
        if not token_ids:
            return Fragment()
        first = len(entry.output_ids) if delta else 0
        entry.output_ids[first:] = token_ids
        positions = entry.sampled_from(first, len(token_ids))
        await self.store.wait(entry, positions.stop, _PATIENCE)
        fragment = await self.fragment(entry, positions)
        if self.readers:
            at_once, with_text = self._at_once, self.with_text
            said = events_of(
                entry, first, token_ids, text, fragment, at_once=at_once, with_text=with_text, weights=self.weights
            )
            for event, n_bytes in said:
                self.readers.put(event, n_bytes)
        return fragment

    async def fragment(self, entry: Entry, positions: range) -> Fragment:
        """Return the readouts at positions of a sequence; other requests go on while many are written."""
        if len(positions) <= self._at_once:
            return entry.rows.fragment(positions, self.weights)
        return await asyncio.to_thread(entry.rows.fragment, positions, self.weights)

    @property
    def _at_once(self) -> int:
        return rows_per_piece(len(self.readout.layers), len(self.readout.concepts))


def _weights(readout: Readout) -> Weights | None:
    if readout.combined is None:
        return None
    weights: Any = readout.combined.weights
    return np.asarray(weights.float().cpu().numpy(), dtype=np.float32)


def collector_of(
    readout: Readout,
    metrics: Callable[[Sequence[str], Sequence[str]], Metrics],
    *,
    with_text: bool,
    rules: Sequence[Rule] = (),
    webhook: str | None = None,
    concepts: Sequence[str] = (),
) -> Collector:
    """Return the collector of a server, which does not watch yet.

    Args:
        readout, with_text: see `Collector`.
        metrics: makes the metrics for rules and concepts.
        rules: of alerts.
        webhook: address that gets their events.
        concepts: names of those with metrics of their own.

    Raises:
        InputError: a rule, a concept or the address is wrong.
        ReadoutError: the readout lacks the calibration of a rule.
    """
    rules, windows = checked_rules(rules, readout), metrics_rules(concepts, readout)
    made = metrics([str(rule) for rule in rules], [window.concept for window in windows])
    alerts = alerts_of(rules, made, with_text=with_text, webhook=webhook)
    counted = ConceptMetrics(windows, made) if windows else None
    return Collector(readout, made, with_text=with_text, alerts=alerts, concepts=counted)
