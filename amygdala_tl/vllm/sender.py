"""Out of the engine without waiting: a thread takes rows off the step's hands and sends them; who does not listen misses them."""

import logging
import queue
import threading
from collections.abc import Sequence
from typing import Any

import zmq
from torch import Tensor, cuda, empty

from amygdala_tl.vllm.wire import Step, encode

_WAITING = 4096  # steps; past that the serving process is gone or stuck, and rows are dropped

logger = logging.getLogger("vllm.amygdala_tl")


class Sender:
    """Sends steps to an address; never blocks, never raises in the engine.

    Attributes:
        dropped: how many steps were not sent.
    """

    def __init__(self, address: str) -> None:
        self.dropped = 0
        self._queue: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._socket = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.set(zmq.SNDHWM, _WAITING)
        self._socket.set(zmq.LINGER, 0)
        self._socket.connect(address)
        threading.Thread(target=self._run, name="readout-sender", daemon=True).start()

    def send(self, requests: Sequence[tuple[str, int]], positions: Tensor, scores: Tensor) -> None:
        """Queue the rows of a step. On a GPU the copy to the host is started and waited for by the thread.

        Args:
            requests: (request id, how many rows), in the order of the rows.
            positions: [token].
            scores: [token, layer, concept]; must not change any more.
        """
        if self._queue.qsize() > _WAITING:
            self.dropped += 1
            return
        if scores.device.type != "cuda":
            self._queue.put((None, tuple(requests), positions.clone(), scores))
            return
        copies = [empty(each.shape, dtype=each.dtype, pin_memory=True) for each in (positions, scores)]
        for copy, each in zip(copies, (positions, scores), strict=True):
            copy.copy_(each, non_blocking=True)
        done = cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        self._queue.put((done, tuple(requests), *copies))

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            done, requests, positions, scores = item
            try:
                if done is not None:
                    done.synchronize()
                step = Step(requests, positions.numpy(), scores.numpy())
                self._socket.send_multipart(encode(step), zmq.NOBLOCK)
            except Exception as cause:
                if self.dropped == 0:
                    logger.warning("readouts of a step were not sent, and others may follow: %r", cause)
                self.dropped += 1
