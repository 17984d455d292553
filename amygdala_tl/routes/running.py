"""Running means of the last tokens of every running sequence, as z, for several concepts and windows in one go.

A sequence takes a ring of its last scores, one float for each token of the widest window and each concept that is looked at.
Its length does not matter. Equal to `readout.windows.running_means`, token by token.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.rows import Scores
from amygdala_tl.routes.rules import Rule, scale_of_rule

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


class RunningWindows:
    """The windows of some rules, for as many sequences as are open; their thresholds do not matter here."""

    def __init__(self, readout: Readout, rules: Sequence[Rule]) -> None:
        """Prepare the windows of `rules`, at least one, which `checked_rules` has checked."""
        columns = list(dict.fromkeys((rule.concept, rule.layer) for rule in rules))
        self._concepts = np.array([readout.concepts.index(concept) for concept, _ in columns])
        self._weights = np.stack([_weights(readout, *column) for column in columns], axis=1)  # [layer, column]
        self._column = np.array([columns.index((rule.concept, rule.layer)) for rule in rules])
        self._width = np.array([rule.window for rule in rules])
        self._least = np.array([rule.least for rule in rules])
        self._size = int(self._width.max())
        scales = [_mean_and_std(readout, rule, self._size) for rule in rules]
        self._mean = np.array([mean for mean, _ in scales])
        self._std = np.stack([std for _, std in scales])  # [rule, tokens]
        self._rules = np.arange(len(rules))
        self._free: list[int] = []
        self._counts = np.zeros(0, dtype=np.int64)  # [sequence]
        self._sums = np.zeros((0, len(rules)))
        self._ring = np.zeros((0, self._size, len(columns)), dtype=np.float32)

    def open(self) -> int:
        """Return the place of a new sequence."""
        if not self._free:
            n = len(self._counts)
            self._free = list(range(2 * n + 7, n - 1, -1))
            self._counts, self._sums, self._ring = (
                np.concatenate((old, np.zeros((n + 8, *old.shape[1:]), dtype=old.dtype)))
                for old in (self._counts, self._sums, self._ring)
            )
        place = self._free.pop()
        self._counts[place], self._sums[place] = 0, 0.0
        return place

    def close(self, place: int) -> None:
        """Let another sequence have the place."""
        self._free.append(place)

    def push(self, places: Places, scores: Scores) -> tuple[Floats, Places]:
        """Add one token to each of some sequences.

        Args:
            places: of the sequences, each once.
            scores: [sequence, layer, concept] raw and finite.

        Returns:
            z [sequence, rule] of the mean over each window, -inf while it has fewer tokens than `Rule.least`; and how many tokens
            the window has.
        """
        values = (scores[:, :, self._concepts] * self._weights).sum(axis=1)  # [sequence, column]
        counts, which = self._counts[places], places[:, None]
        oldest = (counts[:, None] - self._width) % self._size
        leaving = np.where(counts[:, None] >= self._width, self._ring[which, oldest, self._column], 0)
        self._ring[places, counts % self._size] = values
        self._counts[places] = counts = counts + 1
        self._sums[places] += values[:, self._column].astype(np.float64) - leaving
        for place in places[counts % self._size == 0]:  # so that rounding errors do not add up
            tails = self._ring[place, ::-1].cumsum(axis=0, dtype=np.float64)
            self._sums[place] = tails[self._width - 1, self._column]
        held = np.minimum(counts[:, None], self._width)
        z = (self._sums[places] / held - self._mean) / self._std[self._rules, held - 1]
        return np.where(held < self._least, -np.inf, z), held


def _weights(readout: Readout, concept: str, layer: int | None) -> npt.NDArray[np.float32]:
    """Return the weight of each layer's score in the score that a rule reads, [layer]."""
    if layer is not None:
        return np.array([float(each == layer) for each in readout.layers], dtype=np.float32)
    assert readout.combined is not None
    weights: Any = readout.combined.weights[:, readout.concepts.index(concept)]
    return np.asarray(weights.float().cpu().numpy(), dtype=np.float32)


def _mean_and_std(readout: Readout, rule: Rule, size: int) -> tuple[float, Floats]:
    """Return the mean of a token's score, and the deviations of means over 1, 2, ... `size` tokens."""
    row = 0 if rule.layer is None else readout.column(rule.layer)
    scale = scale_of_rule(rule, readout).of_concepts([readout.concepts.index(rule.concept)])
    tokens, lengths = scale.of("tokens"), scale.lengths
    mean, std = float(tokens.mean[row, 0]), float(tokens.std[row, 0])
    if lengths is None:
        return mean, np.full(size, std)
    many = torch.arange(1, size + 1)[:, None].expand(-1, len(tokens.std))
    return mean, std * lengths.shrinkage(many)[:, row, 0].double().numpy()
