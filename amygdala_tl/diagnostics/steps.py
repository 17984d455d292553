"""Steps of a long diagnosis, counted while they are done."""

from amygdala_tl.records import CountCallback


class Steps:
    """Tells a callback how many steps are done, and how many there are as far as is known."""

    def __init__(self, progress: CountCallback | None = None) -> None:
        self._progress, self._done, self._total = progress, 0, 0

    def expect(self, more: int) -> None:
        """Add steps that are still to do, or take away those that need not be done."""
        self._total += more
        self._tell()

    def step(self) -> None:
        """Count a step as done."""
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._done, self._total)
