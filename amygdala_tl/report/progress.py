"""Progress bars for the long stages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

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
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("capture", total=None, texts="0", rate="-", visible=False)

        def show(state: CaptureProgress) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = f"{state.tokens_done / elapsed:,.0f}" if elapsed > 0 else "-"
            bar.update(
                task,
                total=state.tokens_total,
                completed=state.tokens_done,
                texts=f"{state.texts_done:,}/{state.texts_total:,}",
                rate=rate,
                visible=True,
            )

        yield show


@contextmanager
def extract_progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show a bar over nodes for `extract`."""
    columns = (SpinnerColumn(), TextColumn("reading nodes"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("nodes", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def steering_progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show a bar over blocks of work for `steer`."""
    columns = (TextColumn("steering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("blocks", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
