"""Running means of the last tokens of every running sequence, as z, for several concepts and windows in one go.

A sequence takes a ring of its last scores, one float for each concept that is looked at and each token of the widest window, and
of those that are pushed together. Its length does not matter. Equal to `readout.windows.running_means`, token by token.
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
Values = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Index = slice | Places


TOGETHER = 64
"""Most tokens of one sequence that are pushed together."""


class Runs:
    """Tokens of several sequences, those of one side by side and in their order.

    Attributes:
        places: [token] of their sequences.
        first, last: [sequence] its first and its last token.
        own: [sequence] its place.
        sequence: [token] which of the sequences.
    """

    __slots__ = ("first", "last", "own", "places", "sequence")

    def __init__(self, places: Places) -> None:
        """Find the sequences of at least one token."""
        turns = np.flatnonzero(places[1:] != places[:-1])
        self.places = places
        self.first, self.last = np.concatenate(([0], turns + 1)), np.concatenate((turns, [len(places) - 1]))
        self.own = places[self.first]
        self.sequence = np.repeat(np.arange(len(self.first)), self.last - self.first + 1)


class RunningWindows:
    """The windows of some rules, for as many sequences as are open; their thresholds do not matter here."""

    def __init__(self, readout: Readout, rules: Sequence[Rule]) -> None:
        """Prepare the windows of `rules`, at least one, which `checked_rules` has checked."""
        columns = list(dict.fromkeys((rule.concept, rule.layer) for rule in rules))
        windows = list(dict.fromkeys((rule.concept, rule.layer, rule.window) for rule in rules))
        self._of_rule = [windows.index((rule.concept, rule.layer, rule.window)) for rule in rules]
        own = {(rule.concept, rule.layer, rule.window): rule for rule in rules}
        self._concepts = _index([readout.concepts.index(concept) for concept, _ in columns])
        self._weights = np.stack([_weights(readout, *column) for column in columns], axis=1)  # [layer, column]
        column = [columns.index((concept, layer)) for concept, layer, _ in windows]
        self._column = np.array(column)
        self._columns = _index(column)  # the same
        self._width = np.array([width for _, _, width in windows])
        self._of_width: list[tuple[int, Index, Index]] = []  # width, the windows that have it, and their columns
        for width in np.unique(self._width).tolist():
            own_windows = np.flatnonzero(self._width == width).tolist()
            self._of_width.append((width, _index(own_windows), _index([column[window] for window in own_windows])))
        self._least = np.array([own[window].least for window in windows])
        self._widest = int(self._width.max())
        self._size = self._widest + TOGETHER
        scales = [_mean_and_std(readout, own[window], self._widest) for window in windows]
        self._mean = np.array([mean for mean, _ in scales])
        self._std = np.stack([std for _, std in scales])  # [window, tokens]
        self._windows = np.arange(len(windows))
        self._full_std = self._std[self._windows, self._width - 1]
        self._free: list[int] = []
        self._counts = np.zeros(0, dtype=np.int64)  # [sequence]
        self._sums = np.zeros((0, len(windows)))
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

    def of_rules(self, first: int, n: int) -> Index:
        """Return the windows of `n` rules from the `first` on, on the window axis of what `push` returns."""
        return _index(self._of_rule[first : first + n])

    def close(self, place: int) -> None:
        """Let another sequence have the place."""
        self._free.append(place)

    def values(self, scores: Scores) -> Values:
        """Return what the rules read of tokens' scores [token, layer, concept], raw and finite: [token, column]."""
        values: Values = np.einsum("tlc,lc->tc", scores[:, :, self._concepts], self._weights)
        return values

    def push(self, runs: Runs, values: Values) -> tuple[Floats, Places]:
        """Add tokens, at most `TOGETHER` of each sequence.

        Args:
            runs: the tokens.
            values: [token, column] from `values`.

        Returns:
            z [token, window] of the mean over each window that ends there, -inf while it has fewer tokens than `Rule.least`; and
            how many tokens the window has. See `of_rules`.
        """
        many = runs.last - runs.first + 1
        rank = np.arange(len(values)) - runs.first[runs.sequence]
        before = self._counts[runs.places] + rank
        self._ring[runs.places, before % self._size] = values
        change = values[:, self._columns].astype(np.float64) - self._leaving(runs, before)
        sums = self._summed(runs, rank, int(many.max()), change)
        self._sums[runs.own] = sums[runs.last]
        counts = self._counts[runs.own]
        self._counts[runs.own] = counts + many
        full = (counts + many) // self._size > counts // self._size
        for place in runs.own[full].tolist():  # so that rounding errors do not add up
            self._sums[place] = self._anew(place)
        if before.min() + 1 >= self._widest:  # no window is short, which is most often so
            z = (sums / self._width - self._mean) / self._full_std
            held = np.broadcast_to(self._width, z.shape)
        else:
            held = np.minimum(before[:, None] + 1, self._width)
            z = (sums / held - self._mean) / self._std[self._windows, held - 1]
            z[held < self._least] = -np.inf
        return z, held

    def _leaving(self, runs: Runs, before: Places) -> Values:
        """Return the values that leave each window, [token, window], 0 while it is not full."""
        found = np.empty((len(before), len(self._windows)), dtype=np.float32)
        for width, windows, columns in self._of_width:
            row = self._ring[runs.places, (before - width) % self._size]
            row[before < width] = 0
            found[:, windows] = row[:, columns]
        return found

    def _summed(self, runs: Runs, rank: Places, most: int, change: Floats) -> Floats:
        """Return the sums of the windows at each token, [token, window], from what changes them there."""
        if most == 1:
            return change + self._sums[runs.own]
        if len(runs.own) == 1:
            return np.asarray(change.cumsum(axis=0) + self._sums[runs.own])
        # Each sequence is summed by itself, so that a huge score of one leaves no rounding error in another.
        steps = np.zeros((len(runs.own), most, change.shape[1]))
        steps[runs.sequence, rank] = change
        steps[:, 0] += self._sums[runs.own]
        sums: Floats = steps.cumsum(axis=1)[runs.sequence, rank]
        return sums

    def _anew(self, place: int) -> Floats:
        """Sum the windows of a sequence that has filled its ring, [window]."""
        latest = (self._counts[place] - 1 - np.arange(self._widest)) % self._size
        tails = self._ring[place, latest].cumsum(axis=0, dtype=np.float64)
        sums: Floats = tails[self._width - 1, self._column]
        return sums


def _index(places: list[int]) -> Index:
    """Return indices as a slice where they are neighbours, which NumPy takes without a copy."""
    first, n = places[0] if places else 0, len(places)
    return slice(first, first + n) if places == list(range(first, first + n)) else np.array(places)


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
