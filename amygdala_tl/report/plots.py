"""Figures of the report as SVG files, drawn without a browser: verdicts, layers, cross-talk and lengths."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from amygdala_tl.diagnostics.records import CrossTalk, Diagnosis
from amygdala_tl.files import make_folder
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import LengthCalibration
from amygdala_tl.report.grid import fixed
from amygdala_tl.report.svg import ACCENT, GRID, INK, MUTED, NULL, OTHER, Sheet, short

LOOKS = {
    "readable": ("circle", "#0a7060", True),
    "weak": ("diamond", "#9a5b00", True),
    "redundant": ("square", "#7747a6", True),
    "undecided": ("triangle", "#1f6b96", False),
    "not readable": ("circle", "#666c75", False),
}
"""Verdict -> mark, colour, and whether it is filled, as on the page."""

SCALE = ("#1d5c96", "#4f8fc4", "#8fbce0", "#cfe0ef", "#f3f3f1", "#fbdcb8", "#f2ae67", "#d97d1f", "#a34f00")
"""Colours of AUROC from 0 to 1."""

_ROW, _CELL, _NAMES, _WIDE = 20, 16, 250, 460  # pixels
_TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def plot_files(readout: Readout, folder: Path) -> dict[str, Path]:
    """Return the files that `write_plots` writes, by the name of the figure."""
    names = ["verdicts", "layers", *(f"cross-talk-{layer}" for layer in readout.layers)]
    names += [] if readout.length_calibration is None else ["lengths"]
    return {name: folder / f"{name}.svg" for name in names}


def write_plots(diagnosis: Diagnosis, folder: Path) -> dict[str, Path]:
    """Draw a diagnosis, one SVG file a figure.

    Returns:
        Name of the figure -> its file: `verdicts`, `layers`, `cross-talk-<layer>` for each layer, and `lengths` if the readout
        has a calibration of lengths.

    Raises:
        StorageError: another kind of file is in the way, or the disk refused.
    """
    lengths = diagnosis.readout.length_calibration
    sheets = [verdicts_plot(diagnosis), layers_plot(diagnosis), *map(cross_talk_plot, diagnosis.crosstalk)]
    sheets += [] if lengths is None else [lengths_plot(diagnosis.layers, lengths)]
    files = plot_files(diagnosis.readout, folder)
    make_folder(folder, private=True)
    for path, sheet in zip(files.values(), sheets, strict=True):
        sheet.write(path)
    return files


def verdicts_plot(diagnosis: Diagnosis) -> Sheet:
    """Draw each concept's AUROC with its interval, its verdict, and what nulls and a bag of words reach; the best first."""
    scores = diagnosis.evaluation
    columns = scores.auroc.value, scores.auroc.low, scores.auroc.high, scores.permutation_null, scores.bag_of_words
    rows = list(zip(diagnosis.quality, *(column.tolist() for column in columns), strict=True))
    rows.sort(key=lambda row: -row[1] if math.isfinite(row[1]) else math.inf)
    start = _floor(value for row in rows for value in row[1:])
    sheet = Sheet("AUROC of each concept with its 95% interval", _NAMES + _WIDE + 120, _ROW * len(rows) + 80)
    bottom = _ROW * len(rows) + 30

    def across(value: float) -> float:
        return _NAMES + _WIDE * (value - start) / (1 - start)

    for tick in _ticks(start):
        sheet.line([(across(tick), 24), (across(tick), bottom)], GRID if tick != 0.5 else MUTED)
        sheet.text(across(tick), bottom + 16, f"{tick:.1f}", MUTED, "middle")
    for place, (quality, value, low, high, null, words) in enumerate(rows):
        y = 30 + _ROW * (place + 0.5)
        shape, colour, filled = LOOKS[quality.verdict]
        sheet.text(_NAMES - 12, y + 4, short(quality.concept), anchor="end")
        sheet.text(_NAMES + _WIDE + 14, y + 4, f"{fixed(value)} {quality.verdict}", colour)
        if math.isfinite(null):
            sheet.box(across(0.5), y - 6, across(null) - across(0.5), 12, NULL)
        if math.isfinite(low + high):
            sheet.line([(across(low), y), (across(high), y)], colour, 1.5)
        if math.isfinite(words):
            sheet.mark(across(words), y, "cross", INK)
        if math.isfinite(value):
            sheet.mark(across(value), y, shape, colour, filled=filled)
    said = "AUROC with its 95% interval; grey: permuted labels reach this (95%); cross: a bag of words"
    sheet.text(_NAMES + _WIDE, bottom + 38, said, MUTED, "end")
    return sheet


def layers_plot(diagnosis: Diagnosis) -> Sheet:
    """Draw the AUROC of every concept at each layer, and their mean."""
    found, layers = diagnosis.by_layer.auroc.value, diagnosis.by_layer.layers
    lines = [(column, OTHER, 1.0) for column in found.T.tolist()]
    lines += [(found.nanmean(dim=1).tolist(), INK, 2.5)]
    start = _floor(value for column, _, _ in lines for value in column)
    ticks = [(f"{tick:.1f}", tick) for tick in _ticks(start)]
    said = f"AUROC on {diagnosis.by_layer.of}, by layer: each concept, and their mean (black)"
    return _curves(said, layers, list(map(str, layers)), lines, ticks)


def lengths_plot(layers: Sequence[int], lengths: LengthCalibration) -> Sheet:
    """Draw the deviation of the mean score of n tokens as a share of a single token's: each layer, mean over concepts."""
    shares = torch.stack([lengths.shrinkage(tokens).mean(dim=-1) for tokens in _TOKENS])  # [tokens, layer]
    lines = [(column, ACCENT, 1.5) for column in shares.T.tolist()]
    said = "deviation of the mean score of n tokens, as a share of one token's; a line for each of layers "
    axis = [math.log2(tokens) for tokens in _TOKENS]
    ticks = [(f"{tick / 5:.1f}", tick / 5) for tick in range(6)]
    return _curves(said + ", ".join(map(str, layers)), axis, list(map(str, _TOKENS)), lines, ticks)


def cross_talk_plot(found: CrossTalk) -> Sheet:
    """Draw the AUROC of each readout (row) on each label (column) at one layer, near concepts side by side."""
    order, side = list(found.order), _CELL * len(found.order)
    said = f"layer {found.layer}: AUROC of each readout (row) on each label (column)"
    sheet = Sheet(said, _NAMES + side + 60, _NAMES + side + 70)
    for down, row in enumerate(found.auroc[order][:, order].tolist()):
        name, y = short(found.concepts[order[down]]), _NAMES + _CELL * down
        sheet.text(_NAMES - 6, y + 12, name, anchor="end")
        sheet.text(_NAMES + _CELL * down + 12, _NAMES - 6, name, turn=-90)
        for along, value in enumerate(row):
            sheet.box(_NAMES + _CELL * along, y, _CELL - 1, _CELL - 1, _shade(value))
    for step, colour in enumerate(SCALE):
        sheet.box(_NAMES + 22 * step, _NAMES + side + 12, 22, 10, colour)
        sheet.text(
            _NAMES + 22 * step + 11, _NAMES + side + 36, f"{step / 8:.1f}" if step % 2 == 0 else "", MUTED, "middle"
        )
    sheet.text(6, 16, said, MUTED)
    return sheet


def _curves(
    said: str,
    xs: Sequence[int | float],
    names: Sequence[str],
    lines: Iterable[tuple[Sequence[float], str, float]],
    ticks: Sequence[tuple[str, float]],
) -> Sheet:
    left, top, wide, high = 60, 30, 560, 300
    bottom, top_value = ticks[0][1], ticks[-1][1]
    sheet, reach = Sheet(said, left + wide + 30, top + high + 70), (xs[-1] - xs[0]) or 1.0

    def across(x: int | float) -> float:
        return left + wide * (x - xs[0]) / reach

    def up(value: float) -> float:
        return top + high * (top_value - value) / (top_value - bottom)

    for name, tick in ticks:
        sheet.line([(left, up(tick)), (left + wide, up(tick))], GRID)
        sheet.text(left - 8, up(tick) + 4, name, MUTED, "end")
    for x, name in zip(xs, names, strict=True):
        sheet.text(across(x), top + high + 18, name, MUTED, "middle")
    for column, colour, width in lines:
        points = [(across(x), up(value)) for x, value in zip(xs, column, strict=True) if math.isfinite(value)]
        sheet.line(points, colour, width)
        if len(points) == 1:
            sheet.mark(*points[0], "circle", colour)
    sheet.text(left, top + high + 46, said, MUTED)
    return sheet


def _floor(values: Iterable[float]) -> float:
    """Return the tenth at or below the least AUROC, at most 0.5."""
    return min(0.5, math.floor(10 * min((value for value in values if math.isfinite(value)), default=0.5)) / 10)


def _ticks(start: float) -> list[float]:
    return [tick / 10 for tick in range(round(10 * start), 11)]


def _shade(auroc: float) -> str:
    return SCALE[round(8 * auroc)] if math.isfinite(auroc) else "white"
