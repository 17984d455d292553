"""Collector of a serving process: rows come in from an engine, readouts go out to responses, requests and streams."""

import asyncio
from collections.abc import Sequence

from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.alerts import Alerts
from amygdala_tl.routes.events import events_of
from amygdala_tl.routes.metrics import Metrics
from amygdala_tl.routes.readers import Readers
from amygdala_tl.routes.rows import rows_per_piece
from amygdala_tl.routes.store import Entry, Store
from amygdala_tl.routes.watch import Watch

_PATIENCE = 5.0  # seconds to wait for a row that the engine has computed; it usually arrives within milliseconds


class Collector:
    """Keeps rows of the served bundle in a store, and hands them out.

    Attributes:
        readout: the bundle.
        metrics, store, readers: see their classes.
        with_text: whether the routes show token ids and text.
        alerts: what has come of the alerts; None for a server without any.
    """

    def __init__(
        self, readout: Readout, metrics: Metrics, *, with_text: bool = False, alerts: Alerts | None = None
    ) -> None:
        self.readout = readout
        self.metrics = metrics
        self.with_text = with_text
        self.store = Store(changed=metrics.follow)
        self.readers = Readers(metrics)
        self.alerts = alerts

    def watch(self) -> None:
        """Look out for alerts from now on, if there are any."""
        if self.alerts is not None:
            self.store.watcher = Watch(self.readout, self.alerts, self.metrics)

    async def of_output(self, entry: Entry, token_ids: Sequence[int], text: str, *, delta: bool) -> bytes:
        """Return the readouts of generated tokens: the stream that each was sampled from, one position before it.

        They are JSON without brackets, `[[...]],null`. `token_ids` and `text` are all that the sequence has generated so far, or
        what is new if `delta`.
        """
        if not token_ids:
            return b""
        first = len(entry.output_ids) if delta else 0
        entry.output_ids[first:] = token_ids
        positions = entry.sampled_from(first, len(token_ids))
        await self.store.wait(entry, positions.stop, _PATIENCE)
        at_once = rows_per_piece(len(self.readout.layers), len(self.readout.concepts))
        if len(positions) <= at_once:
            fragment = b"".join(entry.rows.pieces(positions))
        else:  # other requests go on meanwhile
            fragment = await asyncio.to_thread(lambda: b",".join(entry.rows.pieces(positions)))
        if self.readers:
            said = events_of(entry, first, token_ids, text, fragment, at_once=at_once, with_text=self.with_text)
            for event, n_bytes in said:
                self.readers.put(event, n_bytes)
        return fragment
