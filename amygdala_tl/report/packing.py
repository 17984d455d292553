"""Tensors as JSON for a page: lists for few numbers, packed bytes for many.

A JSON float takes about eight characters. Matrices over 200 concepts and scores of every token hold millions of numbers, of
which a page shows one or two decimals. They travel as one signed byte each in base64, exact to the decimal shown.
"""

import base64
import math
from collections.abc import Collection, Iterable
from dataclasses import fields
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


def plain(value: Any) -> Any:
    """Turn a tensor, a record, a sequence or a number into what JSON has: numbers with six decimals, None if not finite."""
    match value:
        case Tensor():
            return plain(value.detach().cpu().tolist())
        case list() | tuple():
            return [plain(item) for item in value]
        case float():
            return round(value, 6) if math.isfinite(value) else None
        case None | int() | str():
            return value
        case _:
            return plain_record(value)


def plain_record(record: Any, without: Collection[str] = ()) -> dict[str, Any]:
    """Turn the fields of a dataclass into JSON, under the names that scripts have for them."""
    names = (field.name for field in fields(record) if field.name not in without)
    return {camel(name): plain(getattr(record, name)) for name in names}


def camel(name: str) -> str:
    """Return the name of a field in scripts: `n_positive` is `nPositive` there, and `p_value` is `p`."""
    first, *others = name.removesuffix("_value").split("_")
    return first + "".join(map(str.capitalize, others))


def mean_of_known(values: Iterable[float]) -> float:
    """Return the mean over the finite values, NaN if there are none."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
