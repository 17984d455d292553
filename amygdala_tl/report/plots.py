"""Figures of the report as SVG files, drawn without a browser: verdicts, layers, cross-talk, lengths, and those of steering."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from amygdala_tl.diagnostics.records import CrossTalk, Diagnosis
from amygdala_tl.files import make_folder
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import LengthCalibration
from amygdala_tl.report.drawings import Interval, Line, auroc_ticks, curves, matrix, rows
from amygdala_tl.report.grid import fixed
from amygdala_tl.report.steering_plots import steering_plots
from amygdala_tl.report.svg import ACCENT, INK, OTHER, Sheet
from amygdala_tl.steering.results import SteeringRun

LOOKS = {
    "readable": ("circle", "#0a7060", True),
    "weak": ("diamond", "#9a5b00", True),
    "redundant": ("square", "#7747a6", True),
    "undecided": ("triangle", "#1f6b96", False),
    "not readable": ("circle", "#666c75", False),
}
"""Verdict -> mark, colour, and whether it is filled, as on the page."""

_TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def plot_files(readout: Readout, folder: Path, steering: SteeringRun | None = None) -> dict[str, Path]:
    """Return the files that `write_plots` writes, by the name of the figure."""
    names = ["verdicts", "layers", *(f"cross-talk-{layer}" for layer in readout.layers)]
    names += [] if readout.length_calibration is None else ["lengths"]
    names += [] if steering is None else steering_plots(steering)
    return {name: folder / f"{name}.svg" for name in names}


def write_plots(diagnosis: Diagnosis, folder: Path, steering: SteeringRun | None = None) -> dict[str, Path]:
    """Draw a diagnosis, and a run of the causal check, one SVG file a figure.

    Returns:
        Name of the figure -> its file: `verdicts`, `layers`, `cross-talk-<layer>` for each layer, `lengths` if the readout
        has a calibration of lengths, and those of `steering_plots`.

    Raises:
        StorageError: another kind of file is in the way, or the disk refused.
    """
    lengths = diagnosis.readout.length_calibration
    sheets = [verdicts_plot(diagnosis), layers_plot(diagnosis), *map(cross_talk_plot, diagnosis.crosstalk)]
    sheets += [] if lengths is None else [lengths_plot(diagnosis.layers, lengths)]
    sheets += [] if steering is None else steering_plots(steering).values()
    files = plot_files(diagnosis.readout, folder, steering)
    make_folder(folder, private=True)
    for path, sheet in zip(files.values(), sheets, strict=True):
        sheet.write(path)
    return files


def verdicts_plot(diagnosis: Diagnosis) -> Sheet:
    """Draw each concept's AUROC with its interval, its verdict, and what nulls and a bag of words reach; the best first."""
    scores = diagnosis.evaluation
    columns = scores.auroc.value, scores.auroc.low, scores.auroc.high, scores.permutation_null, scores.bag_of_words
    numbers = list(zip(*(column.tolist() for column in columns), strict=True))
    shown = [
        Interval(
            quality.concept, f"{fixed(value)} {quality.verdict}", value, low, high, (0.5, null), LOOKS[quality.verdict], words
        )
        for quality, (value, low, high, null, words) in zip(diagnosis.quality, numbers, strict=True)
    ]  # fmt: skip
    said = "AUROC with its 95% interval; grey: permuted labels reach this (95%); cross: a bag of words"
    ticks = auroc_ticks(value for row in numbers for value in row)
    return rows("AUROC of each concept with its 95% interval", said, shown, ticks, origin=0.5)


def layers_plot(diagnosis: Diagnosis) -> Sheet:
    """Draw the AUROC of every concept at each layer, and their mean."""
    found, layers = diagnosis.by_layer.auroc.value, diagnosis.by_layer.layers
    lines = [Line(layers, column, OTHER) for column in found.T.tolist()]
    lines += [Line(layers, found.nanmean(dim=1).tolist(), INK, 2.5)]
    said = f"AUROC on {diagnosis.by_layer.of}, by layer: each concept, and their mean (black)"
    beside = auroc_ticks(value for line in lines for value in line.ys)
    return curves(said, [(str(layer), layer) for layer in layers], lines, beside)


def lengths_plot(layers: Sequence[int], lengths: LengthCalibration) -> Sheet:
    """Draw the deviation of the mean score of n tokens as a share of a single token's: each layer, mean over concepts."""
    shares = torch.stack([lengths.shrinkage(tokens).mean(dim=-1) for tokens in _TOKENS])  # [tokens, layer]
    axis = [math.log2(tokens) for tokens in _TOKENS]
    lines = [Line(axis, column, ACCENT, 1.5) for column in shares.T.tolist()]
    said = "deviation of the mean score of n tokens, as a share of one token's; a line for each of layers "
    beside = [(f"{tick / 5:.1f}", tick / 5) for tick in range(6)]
    return curves(said + ", ".join(map(str, layers)), list(zip(map(str, _TOKENS), axis, strict=True)), lines, beside)


def cross_talk_plot(found: CrossTalk) -> Sheet:
    """Draw the AUROC of each readout (row) on each label (column) at one layer, near concepts side by side."""
    order = list(found.order)
    said = f"layer {found.layer}: AUROC of each readout (row) on each label (column)"
    return matrix(said, [found.concepts[place] for place in order], found.auroc[order][:, order].tolist(), (0.0, 1.0))
