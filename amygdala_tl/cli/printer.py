"""The one printer of the command line: everything that reaches the terminal passes through it.

Text from outside (a note, a name, a path, an answer of a server) is data here: no markup, no emoji codes, no control characters.
Warnings and log records take the same way. A character that the stream's encoding lacks becomes one that it has.

A pipe or a file has no width: there, tables and lines are as wide as what they hold. `COLUMNS` sets a width anywhere.
"""

import codecs
import json
import logging
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

import msgspec
from rich.console import Console, ConsoleOptions, RenderableType
from rich.rule import Rule
from rich.segment import Segment
from rich.text import Text

from amygdala_tl.show import safe, safe_json, shortened

NARROWEST, USUAL = 20, 80
"""Fewest columns that a terminal is believed to have, and what it has otherwise."""

PROGRAM = "amygdala-tl"

_LONGEST_LINE = 20_000
_ENDLESS = 1_000_000  # columns of what has no width
_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
_LOUD = ("transformers", "huggingface_hub")
_ASCII = str.maketrans({
    "\u2588": "#", "\u00b7": ".", "\u2013": "-", "\u2014": "-", "\u2026": "~", "\u2192": ">", "\u2190": "<", "\u00b1": "~",
    "\u00b2": "2", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2022": "*", "\u2501": "-", "\u2500": "-",
})  # fmt: skip


class SafeConsole(Console):
    """A rich console on which text is data."""

    def __init__(self, **looks: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False} | looks)
        if not self.is_terminal and "width" not in looks and not _columns():
            self.width = _ENDLESS
        elif self.width < NARROWEST:
            self.width = USUAL

    def render_str(self, text: str, **looks: Any) -> Text:
        """Turn a text into one that is safe."""
        return super().render_str(safe(text), **looks)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render with every text made safe; the sequences of styles are added later and are our own."""
        if isinstance(renderable, Text) and len(renderable) > _LONGEST_LINE:
            renderable = Text(shortened(renderable.plain, _LONGEST_LINE), style=renderable.style)
        if isinstance(renderable, Rule) and self.width == _ENDLESS:
            options = (options or self.options).update(width=USUAL)
        for text, style, control in super().render(renderable, options):
            yield Segment(text, style, control) if control else Segment(safe(text), style)


def printer(*, error: bool = False) -> SafeConsole:
    """Return the printer of standard output, or of standard error."""
    return SafeConsole(stderr=error)


def notes(*, error: bool = False) -> SafeConsole:
    """Return the printer of what goes along with results, such as progress; `--quiet` silences it."""
    return SafeConsole(stderr=error, quiet=_QUIET.get())


def set_volume(*, quiet: bool, verbose: bool) -> None:
    """Print results and errors only, or also what libraries log and warn of."""
    _QUIET.set(quiet)
    if quiet:
        warnings.simplefilter("ignore")
    if verbose:
        warnings.simplefilter("default")
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
        for library in _LOUD:
            logging.getLogger(library).setLevel(logging.INFO)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as one JSON document, in ASCII where the stream is not UTF-8.

    Records become objects, tensors and arrays become lists, paths become texts, and NaN becomes null.
    """
    value = msgspec.json.decode(msgspec.json.encode(value, enc_hook=_as_json))
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").startswith("utf")
    text = safe_json(value, indent=indent) if unicode else json.dumps(value, indent=indent)
    if sys.stdout is not None:
        sys.stdout.write(text + "\n")


def command_line(*words: object) -> str:
    """Return a command of this program, by its name, or by the path that it was called by if that is not on PATH."""
    called, found = Path(sys.argv[0]), shutil.which(PROGRAM)
    elsewhere = called.stem == PROGRAM and not (found and called.exists() and called.samefile(found))
    return shlex.join([str(called) if elsewhere else PROGRAM, *map(str, words)])


def print_error(message: object, *, what: str = "error", style: str = "bold red") -> None:
    """Print one message on standard error, `what` in `style` before it; a stream that is closed stays silent."""
    with suppress(OSError, ValueError):
        printer(error=True).print(Text.assemble((f"{what}: ", style), safe(message)), soft_wrap=True)


def set_up() -> None:
    """Send warnings and log records through the printer, and let both streams print any character."""
    codecs.register_error("amygdala", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="amygdala")
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns[:9]) < NARROWEST:
        os.environ["COLUMNS"] = str(USUAL)  # the help of a command, which typer prints, reads it too
    # Users cannot act on deprecations and progress of libraries; our own warnings stay.
    for library in _LOUD:
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.showwarning = _show_warning
    logging.setLogRecordFactory(_SafeRecord)


def _columns() -> int:
    """Return what COLUMNS says, 0 if it says nothing that rich would believe."""
    said = os.environ.get("COLUMNS", "")
    return int(said[:9]) if said.isdecimal() else 0


def _as_json(value: Any) -> Any:
    if hasattr(value, "tolist"):  # a tensor, an array or a number of NumPy
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


class _SafeRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802  # the name is logging's
        """Return the message, made safe, whichever handler of whichever library prints it."""
        return shortened(safe(super().getMessage()))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print_error(shortened(message), what="warning", style="bold yellow")


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace characters that an encoding lacks: by one that looks alike, or by an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(_ASCII)
    return lacking.encode("ascii", "backslashreplace").decode(), error.end
