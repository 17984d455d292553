"""The one printer of the command line: everything that reaches the terminal passes through it.

Text from outside (a note, a name, a path, an answer of a server) is data here: no markup, no emoji codes, no control characters.
Warnings and log records take the same way. A character that the stream's encoding lacks becomes one that it has.
"""

import codecs
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from amygdala_tl.show import safe, safe_json, shortened

NARROWEST, USUAL = 20, 80
"""Fewest columns that a terminal is believed to have, and what it has otherwise."""

_LONGEST_LINE = 20_000
_ASCII = str.maketrans({
    "\u2588": "#", "\u00b7": ".", "\u2013": "-", "\u2014": "-", "\u2026": "~", "\u2192": ">", "\u2190": "<", "\u00b1": "~",
    "\u00b2": "2", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2022": "*", "\u2501": "-", "\u2500": "-",
})  # fmt: skip


class SafeConsole(Console):
    """A rich console on which text is data."""

    def __init__(self, **looks: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False} | looks)
        if self.width < NARROWEST:
            self.width = USUAL

    def render_str(self, text: str, **looks: Any) -> Text:
        """Turn a text into one that is safe."""
        return super().render_str(safe(text), **looks)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render with every text made safe; the sequences of styles are added later and are our own."""
        if isinstance(renderable, Text) and len(renderable) > _LONGEST_LINE:
            renderable = Text(shortened(renderable.plain, _LONGEST_LINE), style=renderable.style)
        for text, style, control in super().render(renderable, options):
            yield Segment(text, style, control) if control else Segment(safe(text), style)


def printer(*, error: bool = False) -> SafeConsole:
    """Return the printer of standard output, or of standard error."""
    return SafeConsole(stderr=error)


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as one JSON document, in ASCII where the stream is not UTF-8."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").startswith("utf")
    text = safe_json(value, indent=indent) if unicode else json.dumps(value, indent=indent)
    if sys.stdout is not None:
        sys.stdout.write(text + "\n")


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
    for library in ("transformers", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.showwarning = _show_warning
    logging.setLogRecordFactory(_SafeRecord)


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
