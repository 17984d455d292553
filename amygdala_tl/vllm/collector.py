"""Collector of the serving process: rows come in from the engines, readouts go out to responses, requests and streams."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import zmq
import zmq.asyncio

from amygdala_tl.readout.record import Readout
from amygdala_tl.vllm.failures import Failures
from amygdala_tl.vllm.metrics import Metrics
from amygdala_tl.vllm.store import Store, Values, as_values
from amygdala_tl.vllm.wire import decode

_PATIENCE = 5.0  # seconds to wait for a row that the engine has computed; it usually arrives within milliseconds
_IN_FLIGHT = 16  # steps that wait to be received; more wait in the engine, which bounds them
_BACKLOG = 1024  # events that a slow reader of the stream can lag behind before it misses some


class Collector:
    """Receives rows, keeps them, and hands them out.

    Attributes:
        readout: the served bundle.
        store: rows that have arrived.
        metrics: counts for `/metrics`.
        failures: errors of this process.
    """

    def __init__(self, readout: Readout, address: str) -> None:
        self.readout = readout
        self.store = Store()
        self.metrics = Metrics()
        self.failures = Failures(self.metrics.failed)
        self._address = address
        self._task: asyncio.Task[None] | None = None
        self._readers: set[asyncio.Queue[dict[str, Any]]] = set()

    def start(self) -> None:
        """Begin to receive in the running event loop, unless it has begun; a failure is retried at the next call."""
        if self._task is not None:
            return
        with self.failures.noted("receive"):
            socket = zmq.asyncio.Context.instance().socket(zmq.PULL)
            try:
                socket.set(zmq.RCVHWM, _IN_FLIGHT)
                socket.bind(self._address)
            except zmq.ZMQError:
                socket.close()
                raise
            self._task = asyncio.get_running_loop().create_task(self._receive(socket))

    async def _receive(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            frames = await socket.recv_multipart()
            with self.failures.noted("receive"):
                step = decode(frames)
                self.store.add(step)
                if step.failures:
                    self.metrics.failed("engine", step.failures)  # the engine has logged them
                self.metrics.follow(self.store)

    def open(self, engine_id: str, request_id: str, index: int, prompt_ids: list[int]) -> None:
        """Expect rows of a sequence, as in `Store.open`."""
        self.store.open(engine_id, request_id, index, prompt_ids)
        self.metrics.follow(self.store)

    def finish(self, engine_id: str) -> None:
        """Note that a sequence has finished."""
        self.store.finish(engine_id)
        self.metrics.follow(self.store)

    def drop(self, engine_id: str) -> None:
        """Note that a sequence was cancelled, unless it has finished."""
        self.store.drop(engine_id)
        self.metrics.follow(self.store)

    async def of_output(self, engine_id: str, first: int, token_ids: Sequence[int], text: str) -> list[Values | None]:
        """Return the readouts of generated tokens: the stream that each was sampled from, one position before it.

        Args:
            engine_id: the engine's name of the sequence.
            first: index of the first of `token_ids` among the generated tokens.
            token_ids: generated tokens.
            text: their text, for readers of the stream.
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
                reader.get_nowait()  # a slow reader misses the oldest event, and holds nobody up
                self.metrics.missed()
            reader.put_nowait(event)

    @contextlib.contextmanager
    def reader(self) -> Iterator[asyncio.Queue[dict[str, Any]]]:
        """Yield a queue of events, from now on."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_BACKLOG)
        self._readers.add(queue)
        self.metrics.readers(len(self._readers))
        try:
            yield queue
        finally:
            self._readers.discard(queue)
            self.metrics.readers(len(self._readers))
