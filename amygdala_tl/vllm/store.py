"""Store of scores in the serving process, by request and position.

A position is written again when its token is computed again after preemption. It is absent if it was never computed (a prefix
from the cache) or if its scores are not finite. Absent rows are None, never zeros.
"""

import asyncio
import math
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from amygdala_tl.vllm.wire import Step

Row = npt.NDArray[np.float32]
"""[layer, concept]."""

Values = list[list[float]]
"""The same for JSON, [layer][concept]."""

_SLICE = 0.1  # seconds to wait at a time


@dataclass(slots=True)
class Entry:
    """One sequence.

    Attributes:
        request_id: the client's name for it.
        index: number of the choice within the request.
        prompt_ids: token ids of the prompt.
        output_ids: token ids generated so far.
        rows: position -> scores.
        reached: rows of positions before this one have arrived, or will not come.
        finished: True if no more rows are accepted.
    """

    request_id: str
    index: int
    prompt_ids: list[int]
    output_ids: list[int] = field(default_factory=list)
    rows: dict[int, Row] = field(default_factory=dict)
    reached: int = 0
    finished: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def n_bytes(self) -> int:
        """Size of the rows."""
        return sum(row.nbytes for row in self.rows.values())

    def advance(self, end: int) -> None:
        """Note that no more rows of positions before `end` will come."""
        self.reached = max(self.reached, end)
        self.arrived.set()


class Store:
    """All running sequences, and the last few finished ones.

    Attributes:
        running, done: sequences by the engine's name.
        taken: number of rows that have arrived.
        forgotten: number of rows that were dropped.
        missing_cached: positions of finished sequences before their first row; their prefix was in the cache.
        missing_lost: other positions of finished sequences without a row.
    """

    def __init__(
        self, keep_requests: int = 256, keep_bytes: int = 2**28, changed: Callable[["Store"], object] = lambda _: None
    ) -> None:
        """Make an empty store, which keeps at most so many finished sequences and bytes of their rows, and reports changes."""
        self.running: dict[str, Entry] = {}
        self.done: OrderedDict[str, Entry] = OrderedDict()
        self.taken = self.forgotten = self.missing_cached = self.missing_lost = 0
        self._keep_requests, self._keep_bytes, self._changed = keep_requests, keep_bytes, changed
        self._done_bytes = 0
        self._silent = False

    @property
    def held(self) -> int:
        """Number of rows in the store."""
        return self.taken - self.forgotten

    def open(self, engine_id: str, request_id: str, index: int, prompt_ids: list[int]) -> None:
        """Expect rows for the sequence that the engine calls `engine_id`."""
        self.running[engine_id] = Entry(request_id, index, prompt_ids)
        self._changed(self)

    def add(self, step: Step) -> None:
        """Add the rows of a step, except those of unknown sequences and those that are not finite."""
        self._silent = False
        finite = np.all(np.isfinite(step.scores), axis=(1, 2)).tolist()
        start = 0
        for engine_id, count in step.requests:
            entry = self.running.get(engine_id)
            if entry is not None and count:
                positions = step.positions[start : start + count].tolist()
                # Copies, because views would keep the whole step.
                rows = {p: step.scores[start + i].copy() for i, p in enumerate(positions) if finite[start + i]}
                self.taken += len(rows)
                self.forgotten += len(rows.keys() & entry.rows.keys())
                entry.rows |= rows
                entry.advance(positions[-1] + 1)
            start += count
        for engine_id, end in step.lost:
            if entry := self.running.get(engine_id):
                entry.advance(end)
        self._changed(self)

    async def wait(self, engine_id: str, positions: range, patience: float) -> list[Row | None]:
        """Return the rows at `positions`, in order, after waiting for those on their way; None for missing ones.

        Rows arrive in order, so a row will not come once a later one is here. `patience` is the seconds to wait while nothing
        arrives; a longer pause of the event loop itself uses up little of it. After a wait in vain, this does not wait again
        until other rows arrive.
        """
        entry = self.running.get(engine_id)
        if entry is None or not positions:
            return [None] * len(positions)
        slices = 0 if self._silent else math.ceil(patience / _SLICE)
        while entry.reached < positions.stop and slices:
            entry.arrived.clear()
            try:
                async with asyncio.timeout(_SLICE):
                    await entry.arrived.wait()
            except TimeoutError:
                slices -= 1
        self._silent = entry.reached < positions.stop
        return [entry.rows.get(position) for position in positions]

    def finish(self, engine_id: str) -> None:
        """Keep a finished sequence for a while."""
        entry = self.running.pop(engine_id, None)
        if entry is None:
            return
        entry.finished = True
        last = len(entry.prompt_ids) + len(entry.output_ids) - 1
        # The engine may have run a step past the end.
        rows = {position: row for position, row in entry.rows.items() if position < last}
        self.forgotten += len(entry.rows) - len(rows)
        entry.rows = rows
        cached = min(min(rows), len(entry.prompt_ids)) if rows else 0
        self.missing_cached += cached
        self.missing_lost += max(0, last - len(rows) - cached)
        self.done[engine_id] = entry
        self._done_bytes += entry.n_bytes
        while self.done and (len(self.done) > self._keep_requests or self._done_bytes > self._keep_bytes):
            _, oldest = self.done.popitem(last=False)
            self._done_bytes -= oldest.n_bytes
            self.forgotten += len(oldest.rows)
        self._changed(self)

    def drop(self, engine_id: str) -> None:
        """Drop a cancelled sequence, unless it has finished."""
        if entry := self.running.pop(engine_id, None):
            self.forgotten += len(entry.rows)
            self._changed(self)

    def find(self, request_id: str) -> list[Entry]:
        """Find the sequences of a request, in order, running or finished.

        A completion over several prompts has one id for each: the id of the response with `-0`, `-1`, ... appended.
        """
        everything = [*self.running.values(), *self.done.values()]
        exact = [entry for entry in everything if entry.request_id == request_id]
        part = re.compile(re.escape(request_id) + r"-(\d+)")
        parts = [(int(found[1]), entry) for entry in everything if (found := part.fullmatch(entry.request_id))]
        return exact or [entry for _, entry in sorted(parts, key=lambda found: (found[0], found[1].index))]


def as_values(row: Row | None) -> Values | None:
    """Convert a row for JSON; None if it is missing."""
    return None if row is None else row.tolist()
