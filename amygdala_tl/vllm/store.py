"""Scores in the serving process: by request and position, as they arrive, and forgotten in time.

A position is written again when its token is computed again (after preemption), and is absent when it never was (a prefix that
came from the cache): absent rows are None, never zeros.
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
"""The same as JSON carries it, [layer][concept]."""


@dataclass(slots=True)
class Entry:
    """One sequence.

    Attributes:
        request_id: as the client knows it.
        index: which of the request's choices.
        prompt_ids: token ids of the prompt.
        output_ids: token ids generated so far.
        rows: position -> scores.
        finished: no more rows are taken.
    """

    request_id: str
    index: int
    prompt_ids: list[int]
    output_ids: list[int] = field(default_factory=list)
    rows: dict[int, Row] = field(default_factory=dict)
    finished: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def n_bytes(self) -> int:
        """What the rows take."""
        return sum(row.nbytes for row in self.rows.values())


class Store:
    """All sequences that run, and the last few that ended."""

    def __init__(self, keep_requests: int = 256, keep_bytes: int = 256 * 2**20) -> None:
        """An empty store.

        Args:
            keep_requests: how many finished sequences are kept for who asks for them.
            keep_bytes: how much their rows may take.
        """
        self.running: dict[str, Entry] = {}
        self.done: OrderedDict[str, Entry] = OrderedDict()
        self.keep_requests = keep_requests
        self.keep_bytes = keep_bytes
        self._done_bytes = 0

    def open(self, engine_id: str, request_id: str, index: int, prompt_ids: list[int]) -> None:
        """Expect rows for a sequence that the engine calls `engine_id`."""
        self.running[engine_id] = Entry(request_id, index, prompt_ids)

    def add(self, step: Step) -> None:
        """Take the rows of a step; those of unknown sequences are dropped."""
        start = 0
        for engine_id, count in step.requests:
            entry = self.running.get(engine_id)
            if entry is not None:
                scores = step.scores[start : start + count].copy()  # not a view, which would keep the whole step
                positions = step.positions[start : start + count].tolist()
                entry.rows.update(zip(positions, scores, strict=True))
                entry.arrived.set()
            start += count

    async def wait(self, engine_id: str, positions: range, timeout: float) -> list[Row | None]:
        """The rows at `positions`, in order, after waiting for those that are still on their way; None for missing ones."""
        entry = self.running.get(engine_id)
        if entry is None:
            return [None] * len(positions)
        try:
            async with asyncio.timeout(timeout):
                while any(position not in entry.rows for position in positions):
                    entry.arrived.clear()
                    await entry.arrived.wait()
        except TimeoutError:
            pass
        return [entry.rows.get(position) for position in positions]

    def finish(self, engine_id: str) -> None:
        """A sequence ended as it should: keep it for a while."""
        entry = self.running.pop(engine_id, None)
        if entry is None:
            return
        entry.finished = True
        last = len(entry.prompt_ids) + len(entry.output_ids) - 1
        # The engine may have run a step past the end before it knew.
        entry.rows = {position: row for position, row in entry.rows.items() if position < last}
        self.done[engine_id] = entry
        self._done_bytes += entry.n_bytes
        while self.done and (len(self.done) > self.keep_requests or self._done_bytes > self.keep_bytes):
            _, oldest = self.done.popitem(last=False)
            self._done_bytes -= oldest.n_bytes

    def drop(self, engine_id: str) -> None:
        """A sequence was cancelled: forget it."""
        self.running.pop(engine_id, None)

    def find(self, request_id: str) -> list[Entry]:
        """The sequences of a request, in order: running ones, or finished ones that are still kept.

        A completion over several prompts has the id of the response with `-0`, `-1`, ... behind it for each of them.
        """
        everything = [*self.running.values(), *self.done.values()]
        exact = [entry for entry in everything if entry.request_id == request_id]
        parts = [
            entry
            for entry in everything
            if entry.request_id.startswith(f"{request_id}-") and entry.request_id[len(request_id) + 1 :].isdigit()
        ]
        return exact or sorted(parts, key=lambda entry: (int(entry.request_id.rsplit("-", 1)[1]), entry.index))


def as_values(row: Row | None) -> Values | None:
    """A row as JSON can carry it, None where it is missing or not finite."""
    if row is None:
        return None
    values: Values = row.tolist()
    return values if all(math.isfinite(value) for layer in values for value in layer) else None
