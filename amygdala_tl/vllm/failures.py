"""Failures while serving: each kind is logged once, every failure is counted, and none reaches the server."""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator

logger = logging.getLogger("vllm.amygdala_tl")


class Failures:
    """Failures of one process.

    Attributes:
        counts: number of failures by place.
    """

    def __init__(self, tell: Callable[[str, int], None] | None = None) -> None:
        """Start with no failures.

        Args:
            tell: called with (place, number) for each failure.
        """
        self.counts: Counter[str] = Counter()
        self._tell = tell

    def note(self, where: str, cause: BaseException) -> None:
        """Count a failure, and log the first one of its kind.

        Args:
            where: `engine` (a step's rows are lost), `receive` (rows cannot be received) or `answer` (an
                answer lacks its readouts).
            cause: the error.
        """
        if not self.counts[where]:
            logger.error(
                "readouts: failure (%s); generation continues, and further failures are only counted: %r",
                where, cause, exc_info=cause,
            )  # fmt: skip
        self.counts[where] += 1
        if self._tell is not None:
            self._tell(where, 1)

    @contextlib.contextmanager
    def noted(self, where: str) -> Iterator[None]:
        """Note the errors of a block and suppress them."""
        try:
            yield
        except Exception as cause:
            self.note(where, cause)
