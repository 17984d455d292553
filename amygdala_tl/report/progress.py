"""Progress bars for the long stages."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

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

from amygdala_tl.records import CaptureProgress, ProgressCallback


@contextmanager
def capture_progress(console: Console) -> Iterator[ProgressCallback]:
    """Show a bar over tokens for `capture`, with texts, tokens/s and time left."""
    columns = (
        TextColumn("capture"),
        BarColumn(),
        TextColumn("{task.fields[texts]} texts"),
        TextColumn("{task.fields[rate]} tokens/s"),
        TimeRemainingColumn(),
    )
    with _progress(console, *columns) as bar:
        task = bar.add_task("capture", total=None, texts="0", rate="-", visible=False)

        def show(state: CaptureProgress) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = f"{state.tokens_done / elapsed:,.0f}" if elapsed > 0 else "-"
            texts, total = f"{state.texts_done:,}/{state.texts_total:,}", state.tokens_total
            bar.update(task, completed=state.tokens_done, total=total, texts=texts, rate=rate, visible=True)

        yield show


def extract_progress(console: Console) -> AbstractContextManager[Callable[[int, int], None]]:
    """Show a bar over nodes for `extract`."""
    return _counting(console, SpinnerColumn(), TextColumn("reading nodes"), BarColumn(), MofNCompleteColumn())


def steering_progress(console: Console) -> AbstractContextManager[Callable[[int, int], None]]:
    """Show a bar over blocks of work for `steer`."""
    return _counting(console, TextColumn("steering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def _progress(console: Console, *columns: ProgressColumn) -> Progress:
    """Return bars that vanish when they are done, and no bars in a pipe or a file, where each would leave a blank line."""
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def _counting(console: Console, *columns: ProgressColumn) -> Iterator[Callable[[int, int], None]]:
    with _progress(console, *columns) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
