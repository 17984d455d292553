"""What the screen shows, from what has arrived: no input, no output, no clock of its own.

Scores of all requests flow together: what is shown is the model, not one answer of it.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from amygdala_tl.live.order import SteadyOrder, steady_scale
from amygdala_tl.live.records import Array, Generated, Served

RECENT = 64
"""Tokens that the recent mean is over."""

KEPT = 200
"""Pieces of text that are kept to be shown."""

_RATE_SPAN = 5.0  # seconds that tokens a second are counted over


@dataclass(frozen=True, slots=True)
class View:
    """What of it is looked at.

    Attributes:
        layer: index into the served layers.
        raw: projections as they are, not z-scores.
        mean: the mean of recent tokens, not the last one.
    """

    layer: int = 0
    raw: bool = False
    mean: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One concept.

    Attributes:
        concept: its name.
        value: its score.
        length: of the bar, as a part of the scale, in [0, 1] whatever the sign.
        mark: where the recent mean stands on the same scale; None below zero, and where the bar is the mean.
    """

    concept: str
    value: float
    length: float
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, in their steady order, and what a full one stands for."""

    bars: tuple[Bar, ...]
    scale: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of generated text.

    Attributes:
        text: as the server sent it.
        tokens: how many tokens it is.
        opens: it begins a new answer.
        concept: the strongest in the mean over its tokens; None where none of them was computed.
        value: of that concept.
    """

    text: str
    tokens: int
    opens: bool
    concept: str | None
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    text: str
    tokens: int
    opens: bool
    scores: Float[Array, "layer concept"] | None


class LiveState:
    """Everything that has arrived of one served readout, as far as it is still looked at.

    Attributes:
        served: the readout.
        tokens: how many tokens have arrived.
    """

    def __init__(self, served: Served) -> None:
        """Nothing yet of `served`."""
        self.served = served
        self.tokens = 0
        self._recent: deque[Float[Array, "layer concept"]] = deque(maxlen=RECENT)
        self._pieces: deque[_Kept] = deque(maxlen=KEPT)
        self._arrivals: deque[tuple[float, int]] = deque()
        self._orders: dict[tuple[int, bool], SteadyOrder] = {}
        self._scales: dict[View, float] = {}

    @property
    def anything(self) -> bool:
        """Whether a score has arrived that can be shown."""
        return bool(self._recent)

    def add(self, generated: Generated, at: float) -> None:
        """Take what has arrived at time `at` (seconds, of any clock that only goes forward).

        Scores of another shape than the served readout's are those of another one, and are left out.
        """
        if generated.scores.shape[1:] != (len(self.served.layers), len(self.served.concepts)):
            return
        computed = generated.scores[np.isfinite(generated.scores).all(axis=(1, 2))]
        self._recent.extend(computed)
        self.tokens += len(generated.token_ids)
        self._forget(at)
        self._arrivals.append((at, len(generated.token_ids)))
        mean = computed.mean(axis=0) if len(computed) else None
        self._pieces.append(_Kept(generated.text, len(generated.token_ids), generated.first == 0, mean))

    def rate(self, at: float) -> float:
        """Tokens a second, over the last five seconds before `at`."""
        self._forget(at)
        return sum(count for _, count in self._arrivals) / _RATE_SPAN

    def chart(self, view: View) -> Chart:
        """A bar for every concept, strongest first; without any where nothing has arrived.

        Rows follow the recent mean, also where the last token is shown: one token says too little to move a row.
        """
        if not self._recent:
            return Chart((), 1.0)
        recent = self._shown(np.stack(self._recent), view)
        mean = recent.mean(axis=0)
        values = mean if view.mean else recent[-1]
        order = self._orders.setdefault((view.layer, self._raw(view)), SteadyOrder()).rank(mean)
        # What a full bar stands for follows all recent tokens, or it would jump with every one.
        largest = float(np.abs(mean if view.mean else recent).max())
        scale = self._scales[view] = steady_scale(self._scales.get(view, 0.0), largest)
        lengths, marks = np.minimum(1.0, np.abs(values) / scale), np.minimum(1.0, mean / scale)
        bars = (
            Bar(
                concept=self.served.concepts[index],
                value=float(values[index]),
                length=float(lengths[index]),
                mark=None if view.mean or marks[index] < 0 else float(marks[index]),
            )
            for index in order
        )
        return Chart(tuple(bars), scale)

    def pieces(self, view: View, limit: int) -> tuple[Piece, ...]:
        """The last `limit` pieces of text, oldest first, each with its strongest concept in `view`."""
        kept = list(self._pieces)[-limit:] if limit > 0 else []
        return tuple(self._piece(one, view) for one in kept)

    def _forget(self, at: float) -> None:
        while self._arrivals and self._arrivals[0][0] <= at - _RATE_SPAN:
            self._arrivals.popleft()

    def _piece(self, kept: _Kept, view: View) -> Piece:
        if kept.scores is None:
            return Piece(kept.text, kept.tokens, kept.opens, None, 0.0)
        values = self._shown(kept.scores, view)
        top = int(values.argmax())
        return Piece(kept.text, kept.tokens, kept.opens, self.served.concepts[top], float(values[top]))

    def _raw(self, view: View) -> bool:
        return view.raw or not self.served.calibrated

    def _shown(self, scores: Float[Array, "*rows layer concept"], view: View) -> Float[Array, "*rows concept"]:
        values: Float[Array, "*rows concept"] = (scores if self._raw(view) else self.served.z(scores))[
            ..., view.layer, :
        ]
        return values
