"""The look of every table in the terminal, and of the numbers in it."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, SupportsFloat, TypeVar, cast

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from amygdala_tl.show import shortened

T = TypeVar("T")

UNKNOWN = "\u2013"

NARROW = (0, 1, 0, 0)
"""Padding of tables with many columns."""


_ENDLESS = 1_000_000
_LABEL = 16
"""Columns in which a text can be folded and still be read."""


class _Grid(Table):
    """A table that lays out what is shown in the end: cells made safe, and the beginning of one that is too long.

    Where its columns do not fit side by side, it is several tables below each other, each with the first column.
    """

    def add_row(self, *cells: RenderableType | None, **looks: Any) -> None:
        """Add a row, with cells as `rich.table.Table` takes them."""
        super().add_row(*map(_shown, cells), **looks)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table, or the tables that it falls into."""
        parts = self._parts(console, options)
        for number, columns in enumerate(parts):
            part = copy(self)
            part.columns = [replace(column, _index=index) for index, column in enumerate(columns)]
            part.title = self.title if number == 0 else None
            shown = cast(
                "Iterable[Segment]", Table.__rich_console__(part, console, options)
            )  # a table yields nothing else
            for line in Segment.split_lines(shown):
                yield from _without_padding(line)
                yield Segment.line()
            if number < len(parts) - 1:
                yield Text("")

    def _parts(self, console: Console, options: ConsoleOptions) -> list[list[Column]]:
        """Return the columns of each table, the first column in all of them."""
        if len(self.columns) < 3:
            return [self.columns]
        first, *others = ((column, self._needed(console, options, column)) for column in self.columns)
        parts: list[list[Column]] = []
        room = 0
        for column, width in others:
            if not parts or width > room:
                parts.append([first[0]])
                room = options.max_width - first[1]
            parts[-1].append(column)
            room -= width
        return parts

    def _needed(self, console: Console, options: ConsoleOptions, column: Column) -> int:
        """Return the width below which a column would be cut, or its text hard to read."""
        measured = self._measure_column(console, options.update(max_width=_ENDLESS), column)
        return measured.maximum if column.no_wrap else min(measured.minimum, max(_LABEL, _longest(column)))


def _without_padding(line: list[Segment]) -> list[Segment]:
    """Take blanks off the end of a line: a column without an end is as wide as its longest cell."""
    line = line.copy()
    while line and not line[-1].text.strip():
        line.pop()
    if line:
        text, style, control = line.pop()
        line.append(Segment(text.rstrip(), style, control))
    return line


def _longest(column: Column) -> int:
    """Return the length of the longest number in a column; a text can be folded anywhere, a number cannot."""
    return (
        max((len(word) for cell in column.cells for word in str(cell).split()), default=0)
        if column.justify == "right"
        else 0
    )


def _shown(cell: T) -> T | Text | str:
    if isinstance(cell, str):
        return shortened(cell)
    if isinstance(cell, Text) and (plain := shortened(cell.plain)) != cell.plain:
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
