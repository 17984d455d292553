"""Collector of the serving process: rows come in from the engines, readouts go out to responses, requests and streams."""

import asyncio
from collections.abc import Sequence

import zmq
import zmq.asyncio

from amygdala_tl.readout.record import Readout
from amygdala_tl.vllm.events import events_of
from amygdala_tl.vllm.failures import Failures
from amygdala_tl.vllm.metrics import Metrics
from amygdala_tl.vllm.readers import Readers
from amygdala_tl.vllm.rows import rows_per_piece
from amygdala_tl.vllm.store import Entry, Store
from amygdala_tl.vllm.wire import decode

_PATIENCE = 5.0  # seconds to wait for a row that the engine has computed; it usually arrives within milliseconds
_IN_FLIGHT = 16  # steps that wait to be received; more wait in the engine, which bounds them


class Collector:
    """Receives rows of the served bundle, keeps them in a store, and hands them out."""

    def __init__(self, readout: Readout, address: str, *, with_text: bool = False) -> None:
        """Collect rows of `readout` from `address`; `with_text` lets the routes show token ids and text."""
        self.readout = readout
        self.with_text = with_text
        self.metrics = Metrics()
        self.store = Store(changed=self.metrics.follow)
        self.failures = Failures(self.metrics.count)
        self._address = address
        self._task: asyncio.Task[None] | None = None
        self.readers = Readers(self.metrics)

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
