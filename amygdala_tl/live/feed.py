"""The stream in its own thread, for a screen: it never ends, and reports what it is waiting for.

A thread, not a task, because decoding a burst of tokens would delay the keys. It is a daemon, so that the process can end
while the thread waits for a silent server.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Literal

from amygdala_tl.errors import KeyRefused, LiveReadoutError, ReadoutsOff
from amygdala_tl.live.client import ReadoutClient, pause_after
from amygdala_tl.live.records import Generated, Served
from amygdala_tl.settings import SERVER

Trouble = Literal["unreachable", "off", "key"]

_BACKLOG = 4096  # a screen that falls further behind misses the oldest updates
_LONGEST_PAUSE = 3.0  # seconds; a person is watching


@dataclass(frozen=True, slots=True)
class Connected:
    """The server answers, with this readout and this model name."""

    served: Served
    model: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The server gives nothing to read: the problem in one clause with the facts, what to do, and the seconds until the feed
    tries again.
    """

    trouble: Trouble
    what: str
    remedy: str
    pause: float


@dataclass(frozen=True, slots=True)
class Arrived:
    """Tokens have been generated: their server (a screen that has fallen behind may have missed that update), the tokens, and
    the time of arrival in seconds of the monotonic clock.
    """

    connected: Connected
    generated: Generated
    at: float


Update = Connected | Waiting | Arrived


class Feed:
    """Updates from a server, in the order of their occurrence."""

    def __init__(self, client: ReadoutClient, *, most_bytes: int = SERVER.event_bytes) -> None:
        """Take over `client`; reading begins with `start`. At most `most_bytes` of updates wait to be taken."""
        self._client = client
        self._updates: deque[Update] = deque()
        self._bytes, self._most_bytes = 0, most_bytes
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="readout feed", daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading and trying again."""
        self._stopped.set()

    def take(self) -> list[Update]:
        """Return the updates since the last call.

        Raises:
            Exception: an unexpected error ended the thread; a frozen screen must not look like a quiet server.
        """
        if self._failure is not None:
            raise self._failure
        with self._lock:
            taken, self._bytes = list(self._updates), 0
            self._updates.clear()
        return taken

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as error:
            self._failure = error

    def _follow(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                served = self._client.manifest()
                connected = Connected(served, self._client.served_model() or served.model)
                self._add(connected)
                failures = 0
                for generated in self._client.stream_of(served):
                    self._add(Arrived(connected, generated, time.monotonic()))
                    if self._stopped.is_set():
                        return
            except LiveReadoutError as error:
                failures += 1
                pause = min(_LONGEST_PAUSE, pause_after(failures))
                self._add(_waiting(error, pause))
                self._stopped.wait(pause)

    def _add(self, update: Update) -> None:
        with self._lock:
            self._updates.append(update)
            self._bytes += _size(update)
            while len(self._updates) > 1 and (len(self._updates) > _BACKLOG or self._bytes > self._most_bytes):
                self._bytes -= _size(self._updates.popleft())


def _size(update: Update) -> int:
    return update.generated.scores.nbytes + 4 * len(update.generated.text) if isinstance(update, Arrived) else 0


def _waiting(error: LiveReadoutError, pause: float) -> Waiting:
    kinds: dict[type[LiveReadoutError], Trouble] = {ReadoutsOff: "off", KeyRefused: "key"}
    facts = f" ({error.got})" if error.got is not None else ""
    return Waiting(kinds.get(type(error), "unreachable"), f"{error.what}{facts}", error.remedy or "", pause)
