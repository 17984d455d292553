"""Store of scores in the serving process, by the engine's name of a sequence and by position.

The engine's names are unique; a client's are not, so they only serve to find a request when a client asks for it.

A position is written again when its token is computed again after preemption. It is absent if it was never computed (a prefix
from the cache) or if its scores are not finite. Absent rows are None, never zeros.
"""

import asyncio
import itertools
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from amygdala_tl.routes.rows import Rows

_SLICE = 0.1  # seconds to wait at a time
_REPORT = 0.25  # seconds between two reports of rows; sequences that come and go are reported at once
_COMPLETION = "cmpl-"  # what vLLM puts before the id of a completion, whose prompts have ids of their own
_ID_BYTES = 36  # of a token id: an integer and its place in a list


@dataclass(frozen=True, slots=True)
class Step:
    """Rows of one step of an engine.

    Attributes:
        requests: (engine's name of a sequence, number of rows), in the order of the rows.
        positions: [token] position of each row's token in its sequence.
        scores: [token, layer, concept] float32.
        lost: (engine's name, position) of sequences; no more rows will come before that position.
        failures: number of steps that have lost their rows since the last message.
    """

    requests: tuple[tuple[str, int], ...]
    positions: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    lost: tuple[tuple[str, int], ...] = ()
    failures: int = 0


@dataclass(slots=True)
class Entry:
    """One sequence.

    Attributes:
        engine_id: the engine's name for it, which is unique.
        request_id: the client's name for it, which another request may have too.
        index: number of the choice within the request.
        prompt_ids: token ids of the prompt.
        reason: why it gets no rows, whatever the engine computes; None for an ordinary request.
        output_ids: token ids generated so far.
        rows: scores by position.
        reached: rows of positions before this one have arrived, or will not come.
        finished: True if no more rows are accepted.
        forgotten: True if the store no longer has it, so its rows are gone.
    """

    engine_id: str
    request_id: str
    index: int
    prompt_ids: list[int]
    reason: str | None = None
    output_ids: list[int] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)
    reached: int = 0
    finished: bool = False
    forgotten: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def n_bytes(self) -> int:
        """Size of the rows and token ids."""
        return self.rows.n_bytes + _ID_BYTES * (len(self.prompt_ids) + len(self.output_ids))

    def sampled_from(self, first: int, n_tokens: int) -> range:
        """Return the positions whose stream the generated tokens from `first` on were sampled from."""
        start = len(self.prompt_ids) - 1 + first
        return range(start, start + n_tokens)

    def forget(self) -> int:
        """Let go of rows and ids, also for those who are sending them; return how many rows there were."""
        count, self.forgotten = len(self.rows), True
        self.rows, self.prompt_ids, self.output_ids = Rows(), [], []
        return count

    def advance(self, end: int) -> None:
        """Note that no more rows of positions before `end` will come."""
        self.reached = max(self.reached, end)
        self.arrived.set()


Arrival = tuple[Entry, int, int]
"""A sequence, its first row in a step, and the one behind its last."""


class Watcher(Protocol):
    """Looks at rows of generated tokens."""

    def arrived(
        self,
        positions: list[int],
        scores: npt.NDArray[np.float32],
        finite: npt.NDArray[np.bool_] | None,
        arrivals: Sequence[Arrival],
    ) -> None:
        """Look at rows of a step, now or soon.

        Args:
            positions, scores: as in the step.
            finite: [token] whether the row counts; None if all do.
            arrivals: sequences with rows behind their prompts.
        """

    def ended(self, entry: Entry) -> None:
        """Expect no more rows of a sequence."""


class Store:
    """All running sequences, and the last few finished ones.

    Attributes:
        running, done: sequences by the engine's name.
        watcher: sees rows as they arrive; None for nobody.
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
        self.watcher: Watcher | None = None
        self.taken = self.forgotten = self.missing_cached = self.missing_lost = 0
        self._keep_requests, self._keep_bytes, self._changed = keep_requests, keep_bytes, changed
        self._done_bytes = 0
        self._silent = False
        self._report_at = 0.0

    @property
    def held(self) -> int:
        """Number of rows in the store."""
        return self.taken - self.forgotten

    def open(self, entry: Entry) -> None:
        """Expect rows for a sequence."""
        self.running[entry.engine_id] = entry
        self._changed(self)

    def add(self, step: Step) -> None:
        """Add the rows of a step, except those of unknown sequences and those that are not finite."""
        self._silent = False
        positions, scores = step.positions.tolist(), step.scores
        is_finite = np.isfinite(scores)
        finite: npt.NDArray[np.bool_] | None = None
        if np.count_nonzero(is_finite) < scores.size:
            finite = np.asarray(is_finite.all(axis=(1, 2)))
        one_each = len(positions) == len(
            step.requests
        )  # so a row that is kept as it came keeps no other rows but its like
        start, arrivals = 0, list[Arrival]()
        for engine_id, count in step.requests:
            entry, stop = self.running.get(engine_id), start + count
            if entry is not None and count:
                last, reached = positions[stop - 1], entry.reached
                entry.advance(last + 1)
                if entry.reason is None:
                    if last >= len(entry.prompt_ids) - 1:
                        arrivals.append((entry, start, stop))
                    if one_each and finite is None and last >= reached:
                        self.taken += 1
                        entry.rows.append(last, scores[start:stop])
                        start = stop
                        continue
                    own, rows = positions[start:stop], scores[start:stop]
                    if finite is not None:
                        kept = finite[start:stop].tolist()
                        own, rows = list(itertools.compress(own, kept)), rows[kept]
                    self.taken += len(own)
                    self.forgotten += len(own) - entry.rows.put(own, rows)
            start = stop
        for engine_id, end in step.lost:
            if entry := self.running.get(engine_id):
                entry.advance(end)
        if self.watcher is not None and arrivals:
            self.watcher.arrived(positions, scores, finite, arrivals)
        if (now := time.monotonic()) >= self._report_at:
            self._report_at = now + _REPORT
            self._changed(self)

    async def wait(self, entry: Entry, end: int, patience: float) -> None:
        """Wait until the rows of all positions before `end` are here, but for those that will not come.

        Rows arrive in order, so a row will not come once a later one is here. `patience` is the seconds to wait while nothing
        arrives; a longer pause of the event loop itself uses up little of it. After a wait in vain, this does not wait again
        until other rows arrive.
        """
        if entry.reason is not None:
            return
        slices = 0 if self._silent else math.ceil(patience / _SLICE)
        while entry.reached < end and slices:
            entry.arrived.clear()
            try:
                async with asyncio.timeout(_SLICE):
                    await entry.arrived.wait()
            except TimeoutError:
                slices -= 1
        self._silent = entry.reached < end

    def finish(self, engine_id: str) -> None:
        """Keep a finished sequence for a while."""
        entry = self.running.pop(engine_id, None)
        if entry is None:
            return
        entry.finished = True
        self._end_watch(entry)
        last = len(entry.prompt_ids) + len(entry.output_ids) - 1
        self.forgotten += entry.rows.cut(last)  # the engine may have run a step past the end
        if entry.reason is None:
            cached = min(next(iter(entry.rows), 0), len(entry.prompt_ids))
            self.missing_cached += cached
            self.missing_lost += max(0, last - len(entry.rows) - cached)
        self.done[engine_id] = entry
        self._done_bytes += entry.n_bytes
        while self.done and (len(self.done) > self._keep_requests or self._done_bytes > self._keep_bytes):
            _, oldest = self.done.popitem(last=False)
            self._done_bytes -= oldest.n_bytes
            self.forgotten += oldest.forget()
        self._changed(self)

    def drop(self, engine_id: str) -> None:
        """Drop a cancelled sequence, unless it has finished."""
        if entry := self.running.pop(engine_id, None):
            self._end_watch(entry)
            self.forgotten += entry.forget()
            self._changed(self)

    def remove(self, engine_id: str) -> None:
        """Forget a finished sequence before its time."""
        if entry := self.done.pop(engine_id, None):
            self._done_bytes -= entry.n_bytes
            self.forgotten += entry.forget()
            self._changed(self)

    def _end_watch(self, entry: Entry) -> None:
        if self.watcher is not None:
            self.watcher.ended(entry)

    def find(self, request_id: str) -> list[Entry]:
        """Find the sequences of a request, in order, running or finished.

        A completion over several prompts has one id for each: the id of the response with `-0`, `-1`, ... appended. If several
        requests have this id, the sequences of all of them are found.
        """
        everything = [*self.running.values(), *self.done.values()]
        exact = [entry for entry in everything if entry.request_id == request_id]
        if exact or not request_id.startswith(_COMPLETION):
            return exact
        part = re.compile(re.escape(request_id) + r"-(\d+)")
        parts = [(int(found[1]), entry) for entry in everything if (found := part.fullmatch(entry.request_id))]
        return [entry for _, entry in sorted(parts, key=lambda found: (found[0], found[1].index))]
