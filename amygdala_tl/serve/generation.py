"""One request's sequences: their turns go into the collector, and come out as pieces of its answer."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from amygdala_tl.routes.collector import Collector
from amygdala_tl.routes.rows import Fragment
from amygdala_tl.routes.store import Entry, Step
from amygdala_tl.serve.engine import Engine, Finish, Turn, Wanted
from amygdala_tl.serve.prompts import Prompt


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer to one prompt.

    Attributes:
        number: of the choice in the response.
        prompt: what it answers.
        entry: its readouts.
    """

    number: int
    prompt: Prompt
    entry: Entry


@dataclass(frozen=True, slots=True)
class Piece:
    """One generated token.

    Attributes:
        choice: that it belongs to.
        token: its id.
        text: what it adds to the text.
        readout: its scores.
        finish: why the choice ends with it; None if it goes on.
    """

    choice: Choice
    token: int
    text: str
    readout: Fragment
    finish: Finish | None


class Generation:
    """The sequences of one request, which run from now on; `close` it when nobody waits for them any more."""

    def __init__(
        self,
        collector: Collector,
        engine: Engine,
        name: str,
        several: bool,
        wanted: Sequence[tuple[Prompt, int, Wanted]],
    ) -> None:
        """Start sequences.

        Args:
            collector, engine: of the server.
            name: of the response.
            several: whether the readouts of each prompt have a name of their own, as those of completions do.
            wanted: prompt, its number and what to generate for each sequence, prompt by prompt; `deliver` is replaced.

        Raises:
            Busy: the engine takes no more.
        """
        self._collector = collector
        self._arrived: asyncio.Queue[tuple[int, Turn]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.choices: list[Choice] = []
        counts: dict[int, int] = {}
        secret = secrets.token_hex(8)
        for number, (prompt, at, _) in enumerate(wanted):
            index = counts[at] = counts.get(at, -1) + 1
            request_id = f"{name}-{at}" if several else name
            entry = Entry(f"{index}_{request_id}-{secret}", request_id, index, list(prompt.ids))
            self.choices.append(Choice(number, prompt, entry))
        self._wanted = [replace(each, deliver=partial(self._deliver, at)) for at, (_, _, each) in enumerate(wanted)]
        engine.begin(self._wanted)
        for choice in self.choices:
            collector.store.open(choice.entry)

    def close(self) -> None:
        """Cancel what still runs."""
        for wanted, choice in zip(self._wanted, self.choices, strict=True):
            wanted.cancelled.set()
            self._collector.store.drop(choice.entry.engine_id)

    def _deliver(self, number: int, turn: Turn) -> None:
        with suppress(RuntimeError):  # the server's loop has ended
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, (number, turn))

    async def prompt(self, choice: Choice) -> dict[str, Any]:
        """Return the tokens of a choice's prompt, with their readouts."""
        fragment = await self._collector.fragment(choice.entry, range(len(choice.prompt.ids)))
        return {"tokens": choice.prompt.pieces, **fragment.fields()}

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield the tokens of all choices as they are generated.

        Raises:
            Exception: what the model raised.
        """
        left = len(self.choices)
        while left:
            number, turn = await self._arrived.get()
            choice = self.choices[number]
            if turn.failure is not None:
                self._collector.metrics.count("engine")
                raise turn.failure
            entry, positions = choice.entry, np.arange(turn.first, turn.first + len(turn.scores))
            self._collector.store.add(Step(((entry.engine_id, len(positions)),), positions, turn.scores))
            if turn.token is None:
                continue
            readout = await self._collector.of_output(entry, [turn.token], turn.text, delta=True)
            if turn.finish is not None:
                self._collector.store.finish(entry.engine_id)
                left -= 1
            yield Piece(choice, turn.token, turn.text, readout, turn.finish)
