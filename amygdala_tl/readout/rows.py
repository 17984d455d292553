"""Calibrations as tables of a manifest, and back. Nothing here imports more than a stock vLLM installs."""

import torch

from amygdala_tl.readout.manifest import CalibrationRows, Calibrations, LengthRows
from amygdala_tl.readout.scale import Scale
from amygdala_tl.records import Calibration, LengthCalibration


def rows_of(of: Scale) -> Calibrations:
    """Return calibrations as a manifest has them."""
    return Calibrations(_rows(of.texts), _rows(of.tokens), _length_rows(of.lengths))


def scale_of(rows: Calibrations) -> Scale:
    """Return calibrations as a readout has them: the inverse of `rows_of`."""
    return Scale(_calibration(rows.texts), _calibration(rows.tokens), _lengths(rows.lengths))


def _rows(of: Calibration | None) -> CalibrationRows | None:
    return None if of is None else CalibrationRows(of.mean.tolist(), of.std.tolist(), of.n)


def _calibration(rows: CalibrationRows | None) -> Calibration | None:
    return None if rows is None else Calibration(torch.tensor(rows.mean), torch.tensor(rows.std), rows.n)


def _length_rows(of: LengthCalibration | None) -> LengthRows | None:
    return None if of is None else LengthRows(of.mean.tolist(), of.floor.tolist(), of.reach[:, 0].tolist(), of.n)


def _lengths(rows: LengthRows | None) -> LengthCalibration | None:
    if rows is None:
        return None
    mean, floor, reach = (torch.tensor(side) for side in (rows.mean, rows.floor, rows.reach))
    return LengthCalibration(mean, floor, reach[:, None], rows.n)
