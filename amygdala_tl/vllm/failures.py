"""Failures while serving: each kind is logged once, every failure is counted, and none reaches the server."""

import contextlib
import logging
from collections.abc import Callable, Iterator

logger = logging.getLogger("vllm.amygdala_tl")


class Failures:
    """Failures of one process."""

    def __init__(self, tell: Callable[[str], object] | None = None) -> None:
        """Start with no failures; `tell` is called with the place of each."""
        self._logged: set[str] = set()
        self._tell = tell

    def note(self, where: str, cause: BaseException) -> None:
        """Count a failure, and log the first one of its kind.

        Args:
            where: `engine` (a step's rows are lost), `receive` (rows cannot be received) or `answer` (it lacks its readouts).
            cause: the error.
        """
        if where not in self._logged:
            self._logged.add(where)
            message = "readouts: failure (%s); generation continues, and further failures are only counted: %r"
            logger.error(message, where, cause, exc_info=cause)
        if self._tell is not None:
            self._tell(where)

    @contextlib.contextmanager
    def noted(self, where: str) -> Iterator[None]:
        """Note the errors of a block and suppress them."""
        try:
            yield
        except Exception as cause:
            self.note(where, cause)
