"""Receiver of the serving process: rows that the engines send go into a collector."""

import asyncio

import zmq
import zmq.asyncio

from amygdala_tl.routes.collector import Collector
from amygdala_tl.vllm.failures import Failures
from amygdala_tl.vllm.wire import decode

_IN_FLIGHT = 16  # steps that wait to be received; more wait in the engine, which bounds them


class Receiver:
    """Receives rows from an address.

    Attributes:
        collector: which gets them.
        failures: counted in the collector's metrics.
    """

    def __init__(self, collector: Collector, address: str) -> None:
        self.collector = collector
        self.failures = Failures(collector.metrics.count)
        self._address = address
        self._task: asyncio.Task[None] | None = None

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
                self.collector.store.add(step)
                if step.failures:
                    self.collector.metrics.count("engine", step.failures)  # the engine has logged them
