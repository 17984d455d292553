"""A steady order and scale for the bars, which ignore noise."""

import math

import numpy as np
from jaxtyping import Float

from amygdala_tl.live.records import Array

MARGIN = 0.03
"""Change of a value, as a fraction of the range of all values, below which its row does not move."""


class SteadyOrder:
    """An order from strongest to weakest, with hysteresis.

    Each value is held until it moves by more than a margin, and the held values are sorted. Noise below the margin therefore
    moves no row, and a row is never above one that is stronger by more than two margins.
    """

    def __init__(self, margin: float = MARGIN) -> None:
        """Start without values; the margin is a fraction of the range of all values, and 0 gives a plain sort."""
        self._margin = margin
        self._held: Float[Array, " concept"] | None = None
        self._order: tuple[int, ...] = ()

    def rank(self, values: Float[Array, " concept"]) -> tuple[int, ...]:
        """Return the indices of `values`, strongest first; ties keep their order."""
        if self._held is None or len(self._held) != len(values):
            self._held, self._order = values.copy(), tuple(range(len(values)))
        margin = self._margin * float(values.max() - values.min())
        moved = np.abs(values - self._held) > margin
        self._held[moved] = values[moved]
        held = self._held
        self._order = tuple(sorted(self._order, key=lambda index: -float(held[index])))
        return self._order


def steady_scale(previous: float, largest: float) -> float:
    """Return a round number for the full bar: 1, 2 or 5 times a power of ten, and at least `largest`, the longest bar.

    It differs from `previous`, the scale so far (0 for none), only if `largest` is above it or below a quarter of it.
    """
    if not (math.isfinite(largest) and largest > 0):
        return previous or 1.0
    if largest <= previous <= 4 * largest:
        return previous
    largest = max(largest, 1e-30)  # smaller powers of ten underflow
    unit = 10.0 ** math.floor(math.log10(largest))
    return next(step * unit for step in (1, 2, 5, 10) if step * unit >= largest)
