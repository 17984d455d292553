"""What goes wrong while serving: every kind is logged once, every time is counted, and nothing is raised into the server."""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator

logger = logging.getLogger("vllm.amygdala_tl")


class Failures:
    """Failures of one process.

    Attributes:
        counts: how many, by where.
    """

    def __init__(self, tell: Callable[[str, int], None] | None = None) -> None:
        """None yet.

        Args:
            tell: is told of each (where, how many).
        """
        self.counts: Counter[str] = Counter()
        self._tell = tell

    def note(self, where: str, cause: BaseException) -> None:
        """Count a failure, and log the first one of its kind.

        Args:
            where: `engine` (a step's rows are lost), `receive` (rows cannot be received) or `answer` (an answer goes without).
            cause: what was raised.
        """
        if not self.counts[where]:
            logger.error(
                "readouts: a failure (%s); generation goes on, and further ones are counted, not logged: %r",
                where, cause, exc_info=cause,
            )  # fmt: skip
        self.counts[where] += 1
        if self._tell is not None:
            self._tell(where, 1)

    @contextlib.contextmanager
    def noted(self, where: str) -> Iterator[None]:
        """A block whose errors are noted and end there."""
        try:
            yield
        except Exception as cause:
            self.note(where, cause)
