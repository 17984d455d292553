"""What keeps a moving picture still: an order and a scale that change only when the numbers really do."""

import math

import numpy as np
from jaxtyping import Float

from amygdala_tl.live.records import Array

MARGIN = 0.03
"""How far a value must move, as a part of the range of all of them, before its row may."""


class SteadyOrder:
    """Strongest first, with hysteresis.

    Every value is held until it has moved by more than a margin, and held values are sorted: noise below the margin moves no row,
    and no row stands above one that is stronger by more than two margins.
    """

    def __init__(self, margin: float = MARGIN) -> None:
        """An order that nothing has been ranked by yet.

        Args:
            margin: part of the range of all values, 0 for a plain sort.
        """
        self._margin = margin
        self._held: Float[Array, " concept"] | None = None
        self._order: tuple[int, ...] = ()

    def rank(self, values: Float[Array, " concept"]) -> tuple[int, ...]:
        """Indices of `values`, strongest first; those that tie stay as they were."""
        if self._held is None or len(self._held) != len(values):
            self._held, self._order = values.copy(), tuple(range(len(values)))
        margin = self._margin * float(values.max() - values.min())
        moved = np.abs(values - self._held) > margin
        self._held[moved] = values[moved]
        held = self._held
        self._order = tuple(sorted(self._order, key=lambda index: -float(held[index])))
        return self._order


def steady_scale(previous: float, largest: float) -> float:
    """A round number that bars are measured against: at least `largest`, and `previous` as long as that will do.

    Args:
        previous: the scale so far, 0 for none.
        largest: the longest bar.

    Returns:
        1, 2 or 5 times a power of ten; another than `previous` only if `largest` is above it or below a quarter of it.
    """
    if not (math.isfinite(largest) and largest > 0):
        return previous or 1.0
    if largest <= previous <= 4 * largest:
        return previous
    largest = max(largest, 1e-30)  # a power of ten further down is 0
    unit = 10.0 ** math.floor(math.log10(largest))
    return next(step * unit for step in (1, 2, 5, 10) if step * unit >= largest)
