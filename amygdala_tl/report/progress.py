"""Progress of the long stages: a bar in a terminal, and a line now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from amygdala_tl.records import CaptureProgress, CountCallback, ProgressCallback

EVERY = 30.0
"""Seconds between the lines in a log."""

Clock = Callable[[], float]


class _Log:
    """Prints how far a stage is, at most once in `EVERY` seconds, the first time after as long."""

    def __init__(self, console: Console, stage: str, unit: str, clock: Clock) -> None:
        self._console, self._stage, self._unit, self._clock = console, stage, unit, clock
        self._since, self._done = clock(), 0

    def __call__(self, count: str, done: int, total: int) -> None:
        """Print `count`, the units a second since the last line, and the time left, if a line is due."""
        seconds, units = (now := self._clock()) - self._since, done - self._done
        if seconds < EVERY:
            return
        rate = f", {units / seconds:,.0f} {self._unit}/s" if self._unit else ""
        left = "" if not units else f", {timedelta(seconds=round((total - done) * seconds / units))} left"
        self._console.print(f"{self._stage}: {count}{rate}{left}")
        self._since, self._done = now, done


@contextmanager
def capture_progress(console: Console, clock: Clock = time.monotonic) -> Iterator[ProgressCallback]:
    """Show texts, tokens/s and time left of `capture`, as a bar over tokens or as lines."""
    if not console.is_terminal:
        log = _Log(console, "capture", "tokens", clock)
        yield lambda state: log(
            f"{state.texts_done:,} of {state.texts_total:,} texts", state.tokens_done, state.tokens_total
        )
        return
    columns = (
        TextColumn("capture"),
        BarColumn(),
        TextColumn("{task.fields[texts]} texts"),
        TextColumn("{task.fields[rate]} tokens/s"),
        TimeRemainingColumn(),
    )
    with _bar(console, *columns) as bar:
        task = bar.add_task("capture", total=None, texts="0", rate="-", visible=False)

        def show(state: CaptureProgress) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = f"{state.tokens_done / elapsed:,.0f}" if elapsed > 0 else "-"
            texts, total = f"{state.texts_done:,}/{state.texts_total:,}", state.tokens_total
            bar.update(task, completed=state.tokens_done, total=total, texts=texts, rate=rate, visible=True)

        yield show


def extract_progress(console: Console, clock: Clock = time.monotonic) -> AbstractContextManager[CountCallback]:
    """Show how many nodes `extract` has read, as a bar or as lines."""
    columns = SpinnerColumn(), TextColumn("reading nodes"), BarColumn(), MofNCompleteColumn()
    return _counting(console, "extract", "nodes", clock, *columns)


def steering_progress(console: Console, clock: Clock = time.monotonic) -> AbstractContextManager[CountCallback]:
    """Show how many blocks of work `steer` has done, as a bar or as lines."""
    columns = TextColumn("steering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return _counting(console, "steer", "blocks", clock, *columns)


def judging_progress(console: Console, clock: Clock = time.monotonic) -> AbstractContextManager[CountCallback]:
    """Show how many steps of a diagnosis are done, of those that are known so far, as a bar or as lines."""
    columns = TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return _counting(console, "judge", "steps", clock, *columns)


def from_first_call(bars: ExitStack, begin: Callable[[], AbstractContextManager[CountCallback]]) -> CountCallback:
    """Return a callback that begins to show a stage when it is first called, and ends when `bars` is closed."""
    shown: CountCallback | None = None

    def show(done: int, total: int) -> None:
        nonlocal shown
        if shown is None:
            shown = bars.enter_context(begin())
        shown(done, total)

    return show


def reading_progress(
    console: Console, stage: str, clock: Clock = time.monotonic
) -> AbstractContextManager[CountCallback]:
    """Show how many texts have run, as a bar or as lines; `stage` is the command."""
    columns = TextColumn(stage), BarColumn(), MofNCompleteColumn(), TextColumn("texts"), TimeRemainingColumn()
    return _counting(console, stage, "texts", clock, *columns)


def _bar(console: Console, *columns: ProgressColumn) -> Progress:
    """Return a bar that vanishes when it is done."""
    return Progress(*columns, console=console, transient=True)


@contextmanager
def _counting(
    console: Console, stage: str, unit: str, clock: Clock, *columns: ProgressColumn
) -> Iterator[CountCallback]:
    if not console.is_terminal:
        log = _Log(console, stage, "", clock)
        yield lambda done, total: log(f"{done:,} of {total:,} {unit}", done, total)
        return
    with _bar(console, *columns) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
