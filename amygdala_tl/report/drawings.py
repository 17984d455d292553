"""Drawings that several figures are made of: rows with intervals, lines over an axis, and a coloured matrix, as SVG."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from amygdala_tl.report.svg import GRID, INK, MUTED, NULL, Number, Sheet, short

SCALE = ("#1d5c96", "#4f8fc4", "#8fbce0", "#cfe0ef", "#f3f3f1", "#fbdcb8", "#f2ae67", "#d97d1f", "#a34f00")
"""Colours from the lowest value to the highest."""

_ROW, _CELL, _NAMES, _WIDE = 20, 16, 250, 460  # pixels

Tick = tuple[str, Number]
"""A label, and its value on the axis."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A row: a value with its interval beside what chance reaches. NaN is not drawn.

    Attributes:
        name, note: texts on its left and on its right.
        value, low, high: of the mark and its line.
        chance: both ends of the grey bar.
        look: shape and colour of the mark, and whether it is filled.
        cross: value of a second mark, a cross.
    """

    name: str
    note: str
    value: float
    low: float
    high: float
    chance: tuple[float, float]
    look: tuple[str, str, bool]
    cross: float = math.nan


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points, those with a NaN left out."""

    xs: Sequence[Number]
    ys: Sequence[Number]
    colour: str
    width: Number = 1.0


def rows(title: str, said: str, lines: Iterable[Interval], ticks: Sequence[Tick], *, origin: float) -> Sheet:
    """Draw rows, the largest value first, with a darker vertical line at the tick `origin` and the caption `said`."""
    shown = sorted(lines, key=lambda row: -row.value if math.isfinite(row.value) else math.inf)
    sheet, bottom = Sheet(title, _NAMES + _WIDE + 120, _ROW * len(shown) + 80), _ROW * len(shown) + 30
    start, end = ticks[0][1], ticks[-1][1]

    def across(value: Number) -> float:
        return _NAMES + _WIDE * (value - start) / (end - start)

    for name, tick in ticks:
        sheet.line([(across(tick), 24), (across(tick), bottom)], MUTED if math.isclose(tick, origin) else GRID)
        sheet.text(across(tick), bottom + 16, name, MUTED, "middle")
    for place, row in enumerate(shown):
        y = 30 + _ROW * (place + 0.5)
        shape, colour, filled = row.look
        sheet.text(_NAMES - 12, y + 4, short(row.name), anchor="end")
        sheet.text(_NAMES + _WIDE + 14, y + 4, row.note, colour)
        if math.isfinite(sum(row.chance)):
            sheet.box(across(row.chance[0]), y - 6, across(row.chance[1]) - across(row.chance[0]), 12, NULL)
        if math.isfinite(row.low + row.high):
            sheet.line([(across(row.low), y), (across(row.high), y)], colour, 1.5)
        if math.isfinite(row.cross):
            sheet.mark(across(row.cross), y, "cross", INK)
        if math.isfinite(row.value):
            sheet.mark(across(row.value), y, shape, colour, filled=filled)
    sheet.text(_NAMES + _WIDE, bottom + 38, said, MUTED, "end")
    return sheet


def curves(said: str, below: Sequence[Tick], lines: Iterable[Line], beside: Sequence[Tick]) -> Sheet:
    """Draw lines on axes that reach from their first to their last tick; `said` is both title and caption."""
    left, top, wide, high = 60, 30, 560, 300
    sheet = Sheet(said, left + wide + 30, top + high + 70)
    first, reach = below[0][1], (below[-1][1] - below[0][1]) or 1.0
    bottom, most = beside[0][1], beside[-1][1]

    def across(x: Number) -> float:
        return left + wide * (x - first) / reach

    def up(value: Number) -> float:
        return top + high * (most - value) / (most - bottom)

    for name, tick in beside:
        sheet.line([(left, up(tick)), (left + wide, up(tick))], GRID)
        sheet.text(left - 8, up(tick) + 4, name, MUTED, "end")
    for name, tick in below:
        sheet.text(across(tick), top + high + 18, name, MUTED, "middle")
    for line in lines:
        known = [(x, y) for x, y in zip(line.xs, line.ys, strict=True) if math.isfinite(x + y)]
        points = [(across(x), up(y)) for x, y in known]
        sheet.line(points, line.colour, line.width)
        if len(points) == 1:
            sheet.mark(*points[0], "circle", line.colour)
    sheet.text(left, top + high + 46, said, MUTED)
    return sheet


def matrix(said: str, names: Sequence[str], values: Iterable[Sequence[float]], ends: tuple[float, float]) -> Sheet:
    """Draw values as coloured cells, rows and columns in the order of `names`, the scale from one of `ends` to the other."""
    side, (low, high) = _CELL * len(names), ends
    sheet = Sheet(said, _NAMES + side + 60, _NAMES + side + 70)
    for down, row in enumerate(values):
        name, y = short(names[down]), _NAMES + _CELL * down
        sheet.text(_NAMES - 6, y + 12, name, anchor="end")
        sheet.text(_NAMES + _CELL * down + 12, _NAMES - 6, name, turn=-90)
        for along, value in enumerate(row):
            shade = SCALE[round(8 * (value - low) / (high - low))] if math.isfinite(value) else "white"
            sheet.box(_NAMES + _CELL * along, y, _CELL - 1, _CELL - 1, shade)
    for step, colour in enumerate(SCALE):
        x, value = _NAMES + 22 * step, low + (high - low) * step / 8
        sheet.box(x, _NAMES + side + 12, 22, 10, colour)
        sheet.text(x + 11, _NAMES + side + 36, f"{value:.2g}" if step % 2 == 0 else "", MUTED, "middle")
    sheet.text(6, 16, said, MUTED)
    return sheet


def auroc_ticks(values: Iterable[Number]) -> list[Tick]:
    """Return tenths from at or below the least AUROC, at most 0.5, to 1."""
    least = min((value for value in values if math.isfinite(value)), default=0.5)
    return [(f"{tick / 10:.1f}", tick / 10) for tick in range(math.floor(10 * min(0.5, least)), 11)]


def ticks_around(values: Iterable[Number]) -> list[Tick]:
    """Return about five round numbers that enclose 0 and all finite values."""
    known = [0.0, *(value for value in values if math.isfinite(value))]
    known += [] if any(known) else [1.0]
    rough = (max(known) - min(known)) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    places = range(math.floor(min(known) / step), math.ceil(max(known) / step) + 1)
    return [(f"{place * step:.4g}", place * step) for place in places]
