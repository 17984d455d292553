"""Sender of the engine process: a thread sends the rows of each step, so that the engine never waits for a reader."""

import queue
import threading
from collections.abc import Sequence
from typing import Any

import zmq
from torch import Tensor, cuda, empty, float32, int64

from amygdala_tl.routes.store import Step
from amygdala_tl.vllm.failures import Failures
from amygdala_tl.vllm.wire import encode

_WAITING = 256 * 2**20  # bytes of waiting rows; beyond that the serving process is gone or stuck, and rows are lost
_IN_FLIGHT = 16  # steps between the processes, each up to a few megabytes
_PATIENCE = 5000  # milliseconds to wait for a serving process that does not listen; only once until it listens again
_NOTHING = empty(0, dtype=int64, device="cpu"), empty(0, 1, 1, dtype=float32, device="cpu")  # positions and scores


class Sender:
    """Sends steps to an address; never blocks.

    The next message that gets through reports the steps that did not.
    """

    def __init__(self, address: str, failures: Failures) -> None:
        """Connect to `address`, where the serving process listens, now or later."""
        self._failures = failures
        self._untold = 0
        self._queued, self._taken = 0, 0  # bytes; the engine changes the first, the thread the second
        self._patience = _PATIENCE
        self._queue: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._socket = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.set(zmq.SNDHWM, _IN_FLIGHT)
        self._socket.set(zmq.IMMEDIATE, 1)  # keep nothing for a process that does not exist
        self._socket.set(zmq.LINGER, 0)
        self._socket.connect(address)
        threading.Thread(target=self._run, name="readout-sender", daemon=True).start()

    def send(self, requests: Sequence[tuple[str, int]], positions: Tensor, scores: Tensor) -> None:
        """Queue the rows of a step. On a GPU this starts the copy to the host, and the thread waits for it.

        Args:
            requests: (request id, number of rows), in the order of the rows.
            positions: [token].
            scores: [token, layer, concept]; must not change later.

        Raises:
            BufferError: the serving process has not listened for a long time.
        """
        if self._queued - self._taken > _WAITING:
            raise BufferError("the serving process does not take rows")
        self._queued += scores.nbytes
        if scores.device.type != "cuda":
            self._queue.put((None, requests, positions.clone(), scores, None))
            return
        copies = [empty(each.shape, dtype=each.dtype, pin_memory=True) for each in (positions, scores)]
        for copy, each in zip(copies, (positions, scores), strict=True):
            copy.copy_(each, non_blocking=True)
        done = cuda.Event()  # type: ignore[no-untyped-call]  # torch has no types here
        done.record()
        self._queue.put((done, requests, *copies, None))

    def lose(self, lost: Sequence[tuple[str, int]]) -> None:
        """Tell the serving process that a step's rows are lost: (request id, position before which no more will come)."""
        if self._queued - self._taken <= _WAITING:  # otherwise it is not listening
            self._queue.put((None, (), *_NOTHING, lost))

    def _run(self) -> None:
        while True:
            done, requests, positions, scores, lost = self._queue.get()
            self._untold += lost is not None
            try:
                if done is not None:
                    done.synchronize()
                self._push(Step(tuple(requests), positions.numpy(), scores.numpy(), tuple(lost or ()), self._untold))
                self._untold = 0
            except Exception as cause:
                if lost is None:
                    self._untold += 1
                    self._failures.note("engine", cause)
            finally:
                self._taken += scores.nbytes

    def _push(self, step: Step) -> None:
        listens = self._socket.poll(self._patience, zmq.POLLOUT)
        self._patience = _PATIENCE if listens else 0
        if not listens:
            raise TimeoutError("the serving process does not listen")
        self._socket.send_multipart(encode(step), zmq.NOBLOCK)
