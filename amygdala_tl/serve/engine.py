"""The thread that runs the model: one step of each sequence in turn, so that no sequence waits for another's end.

A step runs the next part of a prompt or one generated token. Edits are active during the steps of their own sequence only.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from amygdala_tl.lens.generation import end_tokens
from amygdala_tl.lens.growing import GrowingText, check_growing
from amygdala_tl.lens.model import Lens
from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.text import GrowingString
from amygdala_tl.serve.sampling import Sampler, Sampling
from amygdala_tl.steering.edits import Edit
from amygdala_tl.steering.hooks import intervene

PART = 128
"""Most tokens of a prompt in one step."""

Finish = Literal["stop", "length"]


class Busy(Exception):
    """The engine has as many sequences as it takes."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one step of a sequence gave.

    Attributes:
        first: position of the first token that ran.
        scores: [token, layer, concept] of the tokens that ran, raw.
        token: the token that was chosen after them; None within a prompt, and after a failure.
        text: the text that it adds.
        finish: why the sequence ends with it; None if it goes on.
        failure: what the model raised; the sequence ends.
    """

    first: int
    scores: npt.NDArray[np.float32]
    token: int | None = None
    text: str = ""
    finish: Finish | None = None
    failure: Exception | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A sequence to generate.

    Attributes:
        prompt: token ids, at least one.
        max_tokens: most tokens to generate, at least one.
        sampling: how to choose them.
        stops: strings at which the text ends.
        edits: layer -> edits of its stream.
        ignore_end: go on after a token that ends a text.
        deliver: gets every turn, in the engine's thread.
        cancelled: set it to end the sequence.
    """

    prompt: Sequence[int]
    max_tokens: int
    deliver: Callable[[Turn], object]
    sampling: Sampling = field(default_factory=Sampling)
    stops: Sequence[str] = ()
    edits: Mapping[int, Sequence[Edit]] = field(default_factory=dict)
    ignore_end: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)


class Engine:
    """A model in a thread of its own; `close` ends it.

    Attributes:
        most_sequences: how many sequences take turns.
    """

    def __init__(self, lens: Lens, readout: Readout, most_sequences: int) -> None:
        """Check that the model can continue a text, and start the thread; raises ModelError if it cannot."""
        check_growing(lens, readout.layers)
        self.most_sequences = most_sequences
        self._lens, self._readout = lens, readout
        self._ends = end_tokens(lens)
        self._incoming: queue.SimpleQueue[_Running | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        self._thread = threading.Thread(target=self._loop, name="serve-engine", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread after the step that runs now; sequences get no more turns."""
        self._incoming.put(None)
        self._thread.join()

    def begin(self, wanted: Sequence[Wanted]) -> None:
        """Generate sequences of one request.

        Raises:
            Busy: with them there would be too many.
        """
        with self._lock:
            if self._count + len(wanted) > self.most_sequences:
                raise Busy
            self._count += len(wanted)
        for each in wanted:
            self._incoming.put(_Running(each, self._lens))

    def _loop(self) -> None:
        running: deque[_Running] = deque()
        while True:
            while not running or not self._incoming.empty():
                new = self._incoming.get()
                if new is None:
                    return
                running.append(new)
            sequence = running.popleft()
            if self._goes_on(sequence):
                running.append(sequence)
            else:
                with self._lock:
                    self._count -= 1

    def _goes_on(self, sequence: "_Running") -> bool:
        """Run one step of a sequence; return whether another one follows."""
        if sequence.wanted.cancelled.is_set():
            return False
        try:
            turn = sequence.step(self._readout, self._ends)
        except Exception as cause:
            nothing = np.empty((0, len(self._readout.layers), len(self._readout.concepts)), dtype=np.float32)
            turn = Turn(sequence.n_run, nothing, failure=cause)
        sequence.wanted.deliver(turn)
        return turn.finish is None and turn.failure is None


class _Running:
    """A sequence that the engine runs."""

    def __init__(self, wanted: Wanted, lens: Lens) -> None:
        self.wanted = wanted
        self._lens = lens
        self._left = deque(wanted.prompt)
        self._text = GrowingText(lens)
        self._string = GrowingString(lens.tokenizer, wanted.stops)
        self._sampler = Sampler(wanted.sampling)
        self._n_generated = 0

    @property
    def n_run(self) -> int:
        """Number of tokens that have run."""
        return self._text.n_tokens

    def step(self, readout: Readout, ends: frozenset[int]) -> Turn:
        """Run the next tokens, and choose one after the last of the prompt."""
        ids = [self._left.popleft() for _ in range(min(PART, len(self._left)))]
        first = self.n_run
        with intervene(self._lens, self.wanted.edits):
            logits, streams = self._text.read(ids, readout.layers)
        scores: Any = readout.scores(streams).cpu().numpy()
        if self._left:
            return Turn(first, scores)
        token = self._sampler.choose(logits)
        self._left.append(token)
        self._n_generated += 1
        ended = token in ends and not self.wanted.ignore_end
        text = self._string.add(token)
        finish: Finish | None = None
        if ended or self._string.stopped:
            finish = "stop"
        elif self._n_generated == self.wanted.max_tokens:
            finish = "length"
        if finish:
            text += self._string.finish()
        return Turn(first, scores, token, text, finish)
