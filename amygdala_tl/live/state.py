"""The content of the screen, computed from the tokens that have arrived; no input, output or clock.

Scores of all requests flow together: the screen shows the model, not one answer.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from amygdala_tl.live.order import SteadyOrder, steady_scale
from amygdala_tl.live.records import Array, Generated, Served

RECENT = 64
"""Number of tokens in the recent mean."""

KEPT = 200
"""Number of pieces of text kept for display."""

_LARGEST = 1e30
_LONGEST_TEXT = 1000  # characters of a piece, more than a line shows
_RATE_SPAN = 5.0  # seconds over which the rate is averaged


@dataclass(frozen=True, slots=True)
class View:
    """The user's choice of what to show.

    Attributes:
        layer: index into the served layers; None for the score over all of them.
        raw: show raw projections instead of z-scores.
        mean: show the mean of recent tokens instead of the last token.
    """

    layer: int | None = 0
    raw: bool = False
    mean: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of one concept.

    Attributes:
        concept, value: its name and score.
        length: length of the bar as a fraction of the scale, in [0, 1] for either sign.
        read: whether something shows that the concept is read.
        mark: the recent mean on the same scale; None if it is negative or the bar itself.
    """

    concept: str
    value: float
    length: float
    mark: float | None = None
    read: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars in their steady order, and the score of a full bar."""

    bars: tuple[Bar, ...]
    scale: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of generated text.

    Attributes:
        text, tokens: as the server sent it, and its number of tokens.
        opens: whether it begins a new answer.
        concept, value: the strongest concept in the mean over its tokens and its score; None and 0 if no token was computed.
        computed: number of its tokens that were computed.
    """

    text: str
    tokens: int
    opens: bool
    concept: str | None = None
    value: float = 0.0
    computed: int = 0


class LiveState:
    """The recent tokens of one served readout, and the number of all tokens that have arrived."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.tokens = 0
        # Rows have the score over all layers behind those of the layers, if the readout has it.
        self._recent: deque[Float[Array, "row concept"]] = deque(maxlen=RECENT)
        self._pieces: deque[tuple[Piece, Float[Array, "row concept"] | None]] = deque(maxlen=KEPT)
        self._arrivals: deque[tuple[float, int]] = deque()
        self._orders: dict[tuple[int | None, bool], SteadyOrder] = {}
        self._read = np.array([concept not in served.unread for concept in served.concepts])
        self._scales: dict[View, float] = {}

    @property
    def anything(self) -> bool:
        """Whether any computed score has arrived."""
        return bool(self._recent)

    def add(self, generated: Generated, at: float) -> None:
        """Add tokens that arrived at time `at` (seconds of any monotonic clock).

        Scores with a different shape are dropped: the server has switched bundles.
        """
        if generated.scores.shape[1:] != (len(self.served.layers), len(self.served.concepts)):
            return
        rows = self._rows(generated)
        computed = rows[self._usable(rows)]
        self._recent.extend(row.copy() for row in computed[-RECENT:])  # a view would keep the whole array
        self.tokens += len(generated.scores)
        self._forget(at)
        self._arrivals.append((at, len(generated.scores)))
        text = generated.text[:_LONGEST_TEXT] if len(generated.scores) < 2 else generated.text[-_LONGEST_TEXT:]
        piece = Piece(text, len(generated.scores), opens=generated.first == 0, computed=len(computed))
        self._pieces.append((piece, computed.mean(axis=0) if len(computed) else None))

    def _rows(self, generated: Generated) -> Float[Array, "token row concept"]:
        if self.served.combined is None:
            return generated.scores
        sums = generated.combined
        sums = self.served.combined.scores(generated.scores) if sums is None else sums
        return np.concatenate((generated.scores, sums[:, None]), axis=1)

    def _usable(self, rows: Float[Array, "token row concept"]) -> Bool[np.ndarray[Any, Any], " token"]:
        """Mark the tokens that can be drawn: a NaN, or a score or z of which no mean can be computed, makes a gap."""
        with np.errstate(over="ignore", invalid="ignore"):
            largest = np.abs(rows).max(axis=1)
            if self.served.calibrated:
                z = self.served.z(rows[:, : len(self.served.layers)])
                largest = np.maximum(largest, np.abs(z).max(axis=1))
        usable: Bool[np.ndarray[Any, Any], " token"] = np.all(largest < _LARGEST, axis=1)
        return usable

    def rate(self, at: float) -> float:
        """Return the tokens per second over the five seconds before `at`."""
        self._forget(at)
        return sum(count for _, count in self._arrivals) / _RATE_SPAN

    def chart(self, view: View) -> Chart:
        """Return a bar for every concept, strongest first, or no bars before the first token.

        Rows follow the recent mean even when the last token is shown, because one token says too little to move a row.
        """
        if not self._recent:
            return Chart((), 1.0)
        rows = np.stack(self._recent)
        recent, mean = self._shown(rows, view), self._shown(rows.mean(axis=0), view, tokens=len(rows))
        values = mean if view.mean else recent[-1]
        order = self._orders.setdefault((view.layer, self._raw(view)), SteadyOrder()).rank(mean)
        # The scale follows all recent tokens, since it would jump if it followed the last one.
        largest = max(float(np.abs(each).max()) for each in ((mean,) if view.mean else (mean, recent)))
        scale = self._scales[view] = steady_scale(self._scales.get(view, 0.0), largest)
        lengths, marks = np.minimum(1.0, np.abs(values) / scale), np.minimum(1.0, mean / scale)
        marked = [None if view.mean or mark < 0 else float(mark) for mark in marks]
        bars = (
            Bar(self.served.concepts[one], float(values[one]), float(lengths[one]), marked[one], bool(self._read[one]))
            for one in order
        )
        return Chart(tuple(bars), scale)

    def pieces(self, view: View, limit: int) -> tuple[Piece, ...]:
        """Return the last `limit` pieces of text, oldest first, each with its strongest concept in `view`."""
        kept = list(self._pieces)[-limit:] if limit > 0 else []
        return tuple(
            piece if mean is None else self._strongest(piece, self._shown(mean, view, tokens=piece.computed))
            for piece, mean in kept
        )

    def _forget(self, at: float) -> None:
        while self._arrivals and self._arrivals[0][0] <= at - _RATE_SPAN:
            self._arrivals.popleft()

    def _strongest(self, piece: Piece, values: Float[Array, " concept"]) -> Piece:
        top = int(np.where(self._read, values, -np.inf).argmax() if self._read.any() else values.argmax())
        return replace(piece, concept=self.served.concepts[top], value=float(values[top]))

    def _raw(self, view: View) -> bool:
        return view.raw or not self.served.calibrated

    def _shown(
        self, rows: Float[Array, "*rows row concept"], view: View, *, tokens: int = 1
    ) -> Float[Array, "*rows concept"]:
        """Return scores, each the mean of so many tokens, in the unit and at the layer of the view."""
        raw, combined = self._raw(view), self.served.combined
        if view.layer is None and combined is not None:
            return rows[..., -1, :] if raw else combined.z_of_sum(rows[..., -1, :], tokens=tokens)
        scores: Float[Array, "*rows layer concept"] = rows[..., : len(self.served.layers), :]
        values: Float[Array, "*rows layer concept"] = scores if raw else self.served.z(scores, tokens=tokens)
        return values[..., view.layer or 0, :]
