"""Wall time of the stages of one command."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """`with stages("capture"): ...` adds to `seconds["capture"]`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
