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
    """Receives rows of the served bundle, keeps them in a store, and hands them out."""

    def __init__(self, readout: Readout, address: str) -> None:
        self.readout = readout
        self.metrics = Metrics()
        self.store = Store(changed=self.metrics.follow)
        self.failures = Failures(self.metrics.count)
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
                    self.metrics.count("engine", step.failures)  # the engine has logged them

    async def of_output(
        self, engine_id: str, token_ids: Sequence[int], text: str, *, delta: bool
    ) -> list[Values | None]:
        """Return the readouts of generated tokens: the stream that each was sampled from, one position before it.

        `token_ids` and `text` are all that the sequence has generated so far or, if `delta`, what is new.
        """
        entry = self.store.running.get(engine_id)
        if entry is None or not token_ids:
            return [None] * len(token_ids)
        first = len(entry.output_ids) if delta else 0
        entry.output_ids[first:] = token_ids
        start = len(entry.prompt_ids) - 1 + first
        rows = await self.store.wait(engine_id, range(start, start + len(token_ids)), _PATIENCE)
        found = [as_values(row) for row in rows]
        event = {"request_id": entry.request_id, "index": entry.index, "first": first, "token_ids": list(token_ids)}
        event |= {"text": text, "readout": found}
        for reader in self._readers:
            if reader.full():
                reader.get_nowait()  # a slow reader misses the oldest event, and holds nobody up
                self.metrics.count("stream_events_missed")
            reader.put_nowait(event)
        return found

    @contextlib.contextmanager
    def reader(self) -> Iterator[asyncio.Queue[dict[str, Any]]]:
        """Yield a queue of events, from now on."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_BACKLOG)
        self._readers.add(queue)
        self.metrics.show("stream_readers", len(self._readers))
        try:
            yield queue
        finally:
            self._readers.discard(queue)
            self.metrics.show("stream_readers", len(self._readers))
