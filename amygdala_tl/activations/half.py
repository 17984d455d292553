"""Activations in two bytes a number: float16 with an exponent for each row, so that no row overflows or is too small.

A residual stream may reach beyond float16's 65,504, and other models' streams lie below its normal numbers. Each row of d_model
numbers is divided by a power of two that puts its largest between 2^14 and 2^15. The error is at most 2^-11 of each number, and
2^-39 of the largest of its row for those that are tiny beside it.
"""

import torch
from jaxtyping import Float, Int8
from torch import Tensor

_LARGEST = 15  # 2^15 is half of what float16 holds


def to_half(values: Float[Tensor, "*rows d_model"]) -> tuple[Float[Tensor, "*rows d_model"], Int8[Tensor, "*rows"]]:
    """Return the rows as float16, and the exponents of two by which to multiply them."""
    largest = values.nan_to_num(nan=0.0).abs().amax(dim=-1)
    exponents = (torch.frexp(largest).exponent - _LARGEST).clamp_min(-128).to(torch.int8)
    return torch.ldexp(values, -exponents.int()[..., None]).half(), exponents


def from_half(
    values: Float[Tensor, "*rows d_model"], exponents: Int8[Tensor, "*rows"]
) -> Float[Tensor, "*rows d_model"]:
    """Return the rows in float32."""
    return torch.ldexp(values.float(), exponents.int()[..., None])
