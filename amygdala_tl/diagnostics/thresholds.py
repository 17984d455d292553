"""Thresholds of alerts with a stated rate of false alarms on quiet turns, however scores are distributed.

A turn raises a false alarm if the largest z of its running means exceeds the threshold. Of n quiet turns let the threshold be the
m-th smallest of these largest z. A further turn like them exceeds it with probability 1 - m / (n + 1) at most, because each of
the n + 1 ranks is as likely for it (the argument of conformal prediction). So m = ceil((n + 1) (1 - rate)) keeps the rate, on
average over samples of turns. The share of turns beyond the threshold is distributed as Beta(n - m + 1, m), or lower with ties,
which bounds it for this sample.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import betaincinv

from amygdala_tl.errors import InputError

CONFIDENCE = 0.95
_NOT_LESS = 1e-9  # so that 100 * (1 - 0.01) is 99, and not the 99.00000000000001 of floating point

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Thresholds:
    """Thresholds of some concepts' alerts.

    Attributes:
        concepts: names.
        window: tokens of the running means.
        layer: that was read; None for the score over all layers.
        above: [concept] thresholds, in z.
        n_turns: turns that were long enough to have a running mean.
        wanted: rate of false alarms a turn that was asked for.
        expected: the rate that the thresholds keep, on average over samples of turns; more than `wanted` with too few turns.
        at_most: the rate that they keep for this sample, with 95% confidence for each concept.
    """

    concepts: tuple[str, ...]
    window: int
    layer: int | None
    above: Float[Floats, " concept"]
    n_turns: int
    wanted: float
    expected: float
    at_most: float

    @property
    def n_needed(self) -> int:
        """Turns from which on the rate that was asked for can be kept."""
        return math.ceil(1 / self.wanted - _NOT_LESS) - 1

    @property
    def enough(self) -> bool:
        """Whether there were so many turns."""
        return self.n_turns >= self.n_needed


def alert_thresholds(
    largest: Float[np.ndarray[Any, np.dtype[np.floating]], "turn concept"],
    false_alarms: float,
    *,
    concepts: tuple[str, ...],
    window: int,
    layer: int | None = None,
) -> Thresholds:
    """Choose thresholds which a share `false_alarms` of quiet turns exceeds; see the module.

    Args:
        largest: largest z of the running means of each turn, see `readout.windows.largest_running`.
        false_alarms: rate a turn, between 0 and 1. Fewer than 1 / `false_alarms` - 1 turns cannot promise it, and the thresholds
            are then the largest z of all.
        concepts, window, layer: what `largest` is of.

    Raises:
        InputError: there are no turns, or the rate is not between 0 and 1.
    """
    if not 0 < false_alarms < 1:
        need, remedy = "a rate between 0 and 1", "choose one, such as 0.01"
        raise InputError("not a rate of false alarms", got=false_alarms, need=need, remedy=remedy)
    n = len(largest)
    if not n:
        what, remedy = "no turn is long enough for the window", "take more turns, or a narrower window"
        raise InputError(what, got=f"window {window}", remedy=remedy)
    rank = min(n, math.ceil((n + 1) * (1 - false_alarms) - _NOT_LESS))
    return Thresholds(
        concepts,
        window,
        layer,
        np.sort(largest.astype(np.float64), axis=0)[rank - 1],
        n_turns=n,
        wanted=false_alarms,
        expected=1 - rank / (n + 1),
        at_most=float(betaincinv(n - rank + 1, rank, CONFIDENCE)),
    )
