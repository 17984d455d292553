"""The look of every table in the terminal, and of the numbers in it."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, SupportsFloat, TypeVar

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from amygdala_tl.show import safe, shortened

T = TypeVar("T")

UNKNOWN = "\u2013"

NARROW = (0, 1, 0, 0)
"""Padding of tables with many columns."""


class _Grid(Table):
    """A table that lays out what is shown in the end: cells made safe, and the beginning of one that is too long."""

    def add_row(self, *cells: RenderableType | None, **looks: Any) -> None:
        """Add a row, with cells as `rich.table.Table` takes them."""
        super().add_row(*map(_shown, cells), **looks)


def _shown(cell: T) -> T | Text | str:
    if isinstance(cell, str):
        return shortened(safe(cell))
    if isinstance(cell, Text) and (plain := shortened(safe(cell.plain))) != cell.plain:
        return Text(plain, style=cell.style)
    return cell


def grid(
    text: Iterable[str | Text] = (),
    numbers: Iterable[str] = (),
    *,
    whole: Iterable[str] = (),
    wrap: bool = False,
    **looks: Any,
) -> Table:
    """Return a table without a frame.

    Args:
        text: headings of columns that fold their text.
        numbers: headings of the last columns, aligned to the right.
        whole: headings of columns between these that keep their text on one line.
        wrap: whether numbers and their headings may take several lines.
        looks: as `rich.table.Table` takes them.
    """
    made = _Grid(**({"box": None, "pad_edge": False, "header_style": "bold"} | looks))
    for heading in text:
        made.add_column(_shown(heading), overflow="fold")
    for heading in whole:
        made.add_column(heading, no_wrap=True)
    for heading in numbers:
        made.add_column(heading, justify="right", no_wrap=not wrap)
    return made


def fact_table(facts: Mapping[str, str], style: str = "bold") -> Table:
    """Return one row a fact that is not empty, with its name in `style`."""
    made = _Grid(box=None, pad_edge=False, show_header=False)
    made.add_column(style=style, no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            made.add_row(name, Text(value))
    return made


def fixed(value: SupportsFloat | None, form: str = ".3f") -> str:
    """Return a number with three digits, or in another form; a dash for one that nobody knows."""
    return UNKNOWN if value is None or not math.isfinite(value) else format(value, form)


def tally(found: Iterable[str], kinds: Iterable[str]) -> str:
    """Return how many there are of each kind: 3 readable, 0 weak."""
    counts = Counter(found)
    return ", ".join(f"{counts[kind]} {kind}" for kind in kinds)


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: 1 concept, 2 concepts."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
