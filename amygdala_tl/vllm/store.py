"""Store of scores in the serving process, by request and position.

A position is written again when its token is computed again after preemption. It is absent if it was never computed (a prefix
from the cache) or if its scores are not finite. Absent rows are None, never zeros.
"""

import asyncio
import math
from collections import OrderedDict
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


class Store:
    """All running sequences, and the last few finished ones.

    Attributes:
        running, done: sequences by the engine's name.
        taken: number of rows that have arrived.
        forgotten: number of rows that were dropped.
        missing_cached: positions of finished sequences before their first row; their prefix was in the cache.
        missing_lost: other positions of finished sequences without a row.
    """

    def __init__(self, keep_requests: int = 256, keep_bytes: int = 256 * 2**20) -> None:
        """Make an empty store.

        Args:
            keep_requests: number of finished sequences to keep.
            keep_bytes: largest total size of their rows.
        """
        self.running: dict[str, Entry] = {}
        self.done: OrderedDict[str, Entry] = OrderedDict()
        self.keep_requests = keep_requests
        self.keep_bytes = keep_bytes
        self.taken = 0
        self.forgotten = 0
        self.missing_cached = 0
        self.missing_lost = 0
        self._done_bytes = 0
        self._silent = False

    @property
    def held(self) -> int:
        """Number of rows in the store."""
        return self.taken - self.forgotten

    def open(self, engine_id: str, request_id: str, index: int, prompt_ids: list[int]) -> None:
        """Expect rows for the sequence that the engine calls `engine_id`."""
        self.running[engine_id] = Entry(request_id, index, prompt_ids)

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
                before = len(entry.rows)
                entry.rows.update(rows)
                self.taken += len(rows)
                self.forgotten += before + len(rows) - len(entry.rows)
                _advance(entry, positions[-1] + 1)
            start += count
        for engine_id, end in step.lost:
            if entry := self.running.get(engine_id):
                _advance(entry, end)

    async def wait(self, engine_id: str, positions: range, patience: float) -> list[Row | None]:
        """Return the rows at `positions`, in order, after waiting for those on their way; None for missing ones.

        Rows arrive in order, so a row will not come once a later one is here. After a wait in vain, this does not wait again
        until other rows arrive.

        Args:
            engine_id: the engine's name of the sequence.
            positions: ascending.
            patience: seconds to wait while nothing arrives; a longer pause of the event loop itself uses up little of it.
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
        while self.done and (len(self.done) > self.keep_requests or self._done_bytes > self.keep_bytes):
            _, oldest = self.done.popitem(last=False)
            self._done_bytes -= oldest.n_bytes
            self.forgotten += len(oldest.rows)

    def drop(self, engine_id: str) -> None:
        """Drop a cancelled sequence."""
        if entry := self.running.pop(engine_id, None):
            self.forgotten += len(entry.rows)

    def find(self, request_id: str) -> list[Entry]:
        """Find the sequences of a request, in order, running or finished.

        A completion over several prompts has one id for each: the id of the response with `-0`, `-1`, ... appended.
        """
        everything = [*self.running.values(), *self.done.values()]
        exact = [entry for entry in everything if entry.request_id == request_id]
        parts = [
            entry
            for entry in everything
            if entry.request_id.startswith(f"{request_id}-") and entry.request_id[len(request_id) + 1 :].isdigit()
        ]
        return exact or sorted(parts, key=lambda entry: (int(entry.request_id.rsplit("-", 1)[1]), entry.index))


def _advance(entry: Entry, end: int) -> None:
    entry.reached = max(entry.reached, end)
    entry.arrived.set()


def as_values(row: Row | None) -> Values | None:
    """Convert a row for JSON; None if it is missing."""
    if row is None:
        return None
    values: Values = row.tolist()
    return values
