"""Tensors as JSON for a page: lists for few numbers, packed bytes for many.

A JSON float takes about eight characters. Matrices over 200 concepts and scores of every token hold millions of numbers, of
which a page shows one or two decimals. They travel as one signed byte each in base64, exact to the decimal shown.
"""

import base64
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

NOTHING = -128
"""The byte for NaN."""


def packed(values: Tensor, step: float) -> dict[str, Any]:
    """Pack a tensor as signed bytes in steps of `step`, last axis fastest. NaN becomes `NOTHING`; values end at +-127 steps."""
    values = values.detach().cpu().double()
    steps = torch.nan_to_num(values / step, nan=NOTHING, posinf=127, neginf=-127).round()
    steps = steps.where(values.isnan(), steps.clamp(-127, 127)).to(torch.int8)
    return {
        "bytes": base64.b64encode(steps.contiguous().numpy().tobytes()).decode("ascii"),
        "shape": list(values.shape),
        "step": step,
    }


def plain(values: Tensor) -> Any:
    """Turn a tensor into nested lists of numbers with four decimals, None where they are not finite."""
    return _rounded(values.detach().cpu().tolist())


def number(value: float | None) -> float | None:
    """Round a number to four decimals; None where it is missing or not finite."""
    return round(value, 4) if value is not None and math.isfinite(value) else None


def mean_of_known(values: Iterable[float]) -> float:
    """Return the mean over the finite values, NaN if there are none."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _rounded(value: Any) -> Any:
    return [_rounded(item) for item in value] if isinstance(value, list) else number(value)
