"""Means over parts of a turn: the last tokens, an exponential average, and the strongest window.

The mean of 8,000 neutral tokens hardly changes when 40 emotional ones are among them; that of the right 40 tokens does. Each mean
here comes with the number of tokens that it stands for, so that `z` and `combined_z` of a readout, or of a served one, put it on
the scale of a single token. The strongest of many windows is on this scale too, after a correction for how many there were.

Scores are NumPy arrays [token, ...], raw, of one turn in order. This module imports no torch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

Floats = np.ndarray[Any, np.dtype[np.float64]]
Places = np.ndarray[Any, np.dtype[np.int64]]
Scores = np.ndarray[Any, np.dtype[Any]]
Readable = Bool[np.ndarray[Any, np.dtype[Any]], " token"]

WIDTHS = (16, 32, 64, 128)
"""Tokens of the windows that `largest_windows` looks at."""

_BEND, _RATE = 2.0, 2.0
"""Beyond this z, windows of neutral text become rarer at this rate. A normal distribution falls faster (docs/bundle.md)."""

_NORMAL, _ALMOST_ALL, _SMALLEST = NormalDist(), 1 - 1e-15, -690.0


def running_means(
    scores: Float[Scores, "token *axes"], width: int, *, readable: Readable | None = None
) -> tuple[Float[Floats, "token *axes"], Int[Places, " token"]]:
    """Compute at every token the mean of the last `width` readable ones, of all so far at the beginning.

    Args:
        scores: raw.
        width: number of tokens, at least 1.
        readable: tokens that are neither attention sinks nor missing; those without NaN if None.

    Returns:
        The means, and how many tokens each is the mean of: `tokens` of a z. Both are NaN and 0 before the first readable token.
    """
    rows, places = _read(scores, readable)
    total, end = _sums(rows), np.arange(1, len(rows) + 1)
    start = np.maximum(end - width, 0)
    counts = end - start
    means = (total[end] - total[start]) / counts.reshape(-1, *(1 for _ in rows.shape[1:]))
    return _at_tokens(means, places, len(scores), np.nan), _at_tokens(counts, places, len(scores), 0)


def exponential_means(
    scores: Float[Scores, "token *axes"], half_life: float, *, readable: Readable | None = None
) -> tuple[Float[Floats, "token *axes"], Float[Floats, " token"]]:
    """Compute at every token the mean of all readable ones so far, in which one `half_life` tokens ago counts half.

    Args:
        scores, readable: as in `running_means`.
        half_life: in readable tokens.

    Returns:
        The means, and the number of equal tokens with a mean of the same variance, (sum of weights)^2 / sum of their squares.
    """
    rows, places = _read(scores, readable)
    means, counts, keep = np.empty_like(rows), np.empty(len(rows)), 0.5 ** (1 / half_life)
    total, weight, squares = np.zeros(rows.shape[1:]), 0.0, 0.0
    for index, row in enumerate(rows):
        total, weight, squares = keep * total + row, keep * weight + 1, keep**2 * squares + 1
        means[index], counts[index] = total / weight, weight**2 / squares
    return _at_tokens(means, places, len(scores), np.nan), _at_tokens(counts, places, len(scores), 0.0)


@dataclass(frozen=True, slots=True)
class Window:
    """The strongest window of a text, of one concept.

    Attributes:
        z: on the scale of one score, see `LargestWindows`.
        text: of its tokens.
    """

    z: float
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class LargestWindows:
    """The strongest window of a turn, of each concept.

    Attributes:
        z: of the strongest window, on the scale of one score: beyond 2 as rarely as a turn's mean, however long the turn is.
        peak: the z that the window has by itself.
        start, stop: its first token, and the one behind its last, among all tokens of the turn.
    """

    z: Float[Floats, "*axes"]
    peak: Float[Floats, "*axes"]
    start: Int[Places, "*axes"]
    stop: Int[Places, "*axes"]


def largest_windows(
    scores: Float[Scores, "token *axes"],
    z: Callable[..., Any],
    *,
    widths: Sequence[int] = WIDTHS,
    readable: Readable | None = None,
) -> LargestWindows | None:
    """Find the window with the highest z, among all windows of some widths.

    Args:
        scores, readable: as in `running_means`.
        z: turns means into z, given `tokens=`: `served.combined.z`, `served.z`, or a readout's.
        widths: numbers of readable tokens. A turn that is shorter than all of them is one window.

    Returns:
        The windows, with the axes of what `z` gives; None without readable tokens.
    """
    rows, places = _read(scores, readable)
    if not len(rows):
        return None
    total = _sums(rows)
    fitting = [width for width in widths if width <= len(rows)] or [len(rows)]
    found = []
    for width in fitting:
        means = ((total[width:] - total[:-width]) / width).astype(scores.dtype)
        values = np.asarray(z(means, tokens=width), dtype=np.float64)
        first = values.argmax(axis=0)
        found.append((np.take_along_axis(values, first[None], axis=0)[0], first, first + width - 1))
    peaks, firsts, lasts = (np.stack(each) for each in zip(*found, strict=True))
    best = peaks.argmax(axis=0)[None]
    peak, first, last = (np.take_along_axis(each, best, axis=0)[0] for each in (peaks, firsts, lasts))
    return LargestWindows(of_the_largest(peak, len(rows), fitting), peak, places[first], places[last] + 1)


def largest_running(
    scores: Float[Scores, "token *axes"],
    z: Callable[..., Any],
    width: int,
    *,
    least: int = 1,
    readable: Readable | None = None,
) -> Scores | None:
    """Find the highest z that a running mean of a turn reaches, as an alert sees it.

    Args:
        scores, width, readable: as in `running_means`.
        z: as in `largest_windows`; `tokens=` is an array, one number for each mean.
        least: tokens that a mean needs to count.

    Returns:
        z, with the axes of what `z` gives; None for a turn with fewer readable tokens than `least`.
    """
    means, counts = running_means(scores, width, readable=readable)
    full = counts >= least
    if not full.any():
        return None
    found: Scores = np.asarray(z(means[full].astype(scores.dtype), tokens=counts[full])).max(axis=0)
    return found


def of_the_largest(peak: Float[Scores, "*axes"], tokens: int, widths: Sequence[int] = WIDTHS) -> Float[Floats, "*axes"]:
    """Correct the highest z of all windows of a turn for their number: the z that one score exceeds as rarely.

    This is Sidak's correction for as many windows of each width as fit into the turn side by side.

    Args:
        peak: the highest z.
        tokens: readable tokens of the turn.
        widths: of the windows.
    """
    looked = 1 + sum(max(0, tokens - width) / width for width in widths)
    found = [_score_of(looked * math.log1p(-_tail(float(each)))) for each in np.ravel(peak)]
    return np.array(found).reshape(np.shape(peak))


def _tail(z: float) -> float:
    """Share of windows of ordinary text with a higher z."""
    if z <= _BEND:
        return min(_NORMAL.cdf(-z), _ALMOST_ALL)
    return _NORMAL.cdf(-_BEND) * math.exp(-_RATE * (z - _BEND))


def _score_of(log_below: float) -> float:
    """Return the z that a share of single scores is below, given its logarithm."""
    if log_below < -1:
        return _NORMAL.inv_cdf(math.exp(max(log_below, _SMALLEST)))
    return -_NORMAL.inv_cdf(max(-math.expm1(log_below), math.exp(_SMALLEST)))


def _read(scores: Scores, readable: Readable | None) -> tuple[Floats, Places]:
    """Return the readable rows, and their places among all."""
    missing = np.isnan(scores).any(axis=tuple(range(1, scores.ndim)))
    places = np.flatnonzero(~missing if readable is None else readable)
    return scores[places].astype(np.float64), places


def _sums(rows: Floats) -> Floats:
    """Return the sums of the first 0, 1, 2, ... rows."""
    return np.concatenate((np.zeros((1, *rows.shape[1:])), np.cumsum(rows, axis=0)))


def _at_tokens(values: Any, places: Places, tokens: int, before: Any) -> Any:
    """Return at every token the value at the last readable one up to it."""
    padded = np.concatenate((np.full((1, *values.shape[1:]), before, dtype=values.dtype), values))
    return padded[np.searchsorted(places, np.arange(tokens), side="right")]
