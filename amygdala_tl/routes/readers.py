"""Readers of the stream: what each has yet to be sent, within bounds of bytes and of number."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator

from amygdala_tl.routes.metrics import Metrics

MOST_READERS = 32
READER_BYTES = 8 * 2**20  # what may wait for one reader
ALL_BYTES = 64 * 2**20  # what may wait for all of them

Event = Callable[[], bytes | None]
"""Make the JSON of an event, in any thread; None if its rows are gone."""


class Reader:
    """One reader.

    Attributes:
        n_bytes: what waits for it.
        dropped: True if it fell behind, so that nothing more comes.
    """

    def __init__(self) -> None:
        self.n_bytes = 0
        self.dropped = False
        self._waiting: deque[tuple[bytes | Event, int]] = deque()
        self._changed = asyncio.Event()

    def put(self, event: bytes | Event, n_bytes: int) -> None:
        """Let an event wait, which takes so many bytes meanwhile."""
        self._waiting.append((event, n_bytes))
        self.n_bytes += n_bytes
        self._changed.set()

    def drop(self) -> None:
        """Forget what waits, for good."""
        self._waiting.clear()
        self.n_bytes, self.dropped = 0, True
        self._changed.set()

    async def next(self, patience: float) -> bytes | Event | None:
        """Return the next event, or None once the reader is dropped; raises TimeoutError after `patience` seconds."""
        async with asyncio.timeout(patience):
            while not self._waiting and not self.dropped:
                self._changed.clear()
                await self._changed.wait()
        if self.dropped:
            return None
        event, n_bytes = self._waiting.popleft()
        self.n_bytes -= n_bytes
        return event


class Readers:
    """All readers. A reader that falls too far behind is dropped: it holds nobody up, and its events take no more memory."""

    def __init__(self, metrics: Metrics, name: str = "stream_readers") -> None:
        """Start without readers; `name` is that of their gauge, and of the count of dropped ones."""
        self._readers: set[Reader] = set()
        self._metrics, self._name = metrics, name

    def __len__(self) -> int:
        return len(self._readers)

    @property
    def full(self) -> bool:
        """Whether no more readers are taken."""
        return len(self._readers) >= MOST_READERS

    @contextlib.contextmanager
    def reader(self) -> Iterator[Reader]:
        """Yield a reader of the events from now on; a dropped one if there are too many."""
        reader = Reader()
        if self.full:
            reader.drop()
        else:
            self._readers.add(reader)
            self._metrics.show(self._name, len(self))
        try:
            yield reader
        finally:
            self._remove(reader)

    def put(self, event: bytes | Event, n_bytes: int) -> None:
        """Let an event wait for every reader."""
        for reader in list(self._readers):
            reader.put(event, n_bytes)
            if reader.n_bytes > READER_BYTES:
                self.drop(reader)
        while sum(reader.n_bytes for reader in self._readers) > ALL_BYTES:
            self.drop(max(self._readers, key=lambda reader: reader.n_bytes))

    def drop(self, reader: Reader) -> None:
        """Drop a reader that has fallen behind."""
        reader.drop()
        self._metrics.count(f"{self._name}_dropped")
        self._remove(reader)

    def _remove(self, reader: Reader) -> None:
        self._readers.discard(reader)
        self._metrics.show(self._name, len(self))
