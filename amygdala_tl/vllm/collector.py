"""In the serving process: rows in from the engines, readouts out to responses, requests and streams."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import zmq
import zmq.asyncio

from amygdala_tl.records import Readout
from amygdala_tl.vllm.store import Store, Values, as_values
from amygdala_tl.vllm.wire import decode

_PATIENCE = 2.0  # seconds to wait for a row that the engine has computed: it is on its way, a few milliseconds behind
_BACKLOG = 1024  # events that a slow reader of the stream may be behind before it misses some

logger = logging.getLogger("vllm.amygdala_tl")


class Collector:
    """Receives, keeps and hands out.

    Attributes:
        readout: the bundle that is served.
        store: what has arrived.
    """

    def __init__(self, readout: Readout, address: str) -> None:
        self.readout = readout
        self.store = Store()
        self._address = address
        self._task: asyncio.Task[None] | None = None
        self._readers: set[asyncio.Queue[dict[str, Any]]] = set()

    def start(self) -> None:
        """Begin to receive, in the running event loop; once."""
        if self._task is not None:
            return
        socket = zmq.asyncio.Context.instance().socket(zmq.PULL)
        socket.set(zmq.RCVHWM, 0)  # the sender bounds what waits
        socket.bind(self._address)
        self._task = asyncio.get_running_loop().create_task(self._receive(socket))

    async def _receive(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            frames = await socket.recv_multipart()
            try:
                self.store.add(decode(frames))
            except (ValueError, KeyError) as cause:
                logger.warning("readouts: a message of an engine cannot be read: %s", cause)

    async def of_output(self, engine_id: str, first: int, token_ids: Sequence[int], text: str) -> list[Values | None]:
        """Readouts of generated tokens: the stream that each was sampled from, which stands one position before it.

        Args:
            engine_id: the engine's name of the sequence.
            first: which generated token is the first of `token_ids`.
            token_ids: generated tokens.
            text: what they stand for, for readers of the stream.
        """
        entry = self.store.running.get(engine_id)
        if entry is None or not token_ids:
            return [None] * len(token_ids)
        entry.output_ids[first:] = token_ids
        start = len(entry.prompt_ids) - 1 + first
        rows = await self.store.wait(engine_id, range(start, start + len(token_ids)), _PATIENCE)
        found = [as_values(row) for row in rows]
        if self._readers:
            self._publish({
                "request_id": entry.request_id, "index": entry.index, "first": first, "token_ids": list(token_ids),
                "text": text, "readout": found,
            })  # fmt: skip
        return found

    def _publish(self, event: dict[str, Any]) -> None:
        for reader in self._readers:
            if reader.full():
                reader.get_nowait()  # a slow reader misses the oldest; nobody waits for it
            reader.put_nowait(event)

    @contextlib.contextmanager
    def reader(self) -> Iterator[asyncio.Queue[dict[str, Any]]]:
        """A queue of events from now on."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_BACKLOG)
        self._readers.add(queue)
        try:
            yield queue
        finally:
            self._readers.discard(queue)
