"""Rows of scores of one sequence: arrays by blocks of positions, and their JSON.

A block holds the rows of neighbouring positions in one array, so that a row of a few numbers costs a few bytes. The latest rows
wait to be written to their block together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Row = npt.NDArray[np.float32]
"""[layer, concept]."""

Scores = npt.NDArray[np.float32]
"""[token, layer, concept]."""

Weights = npt.NDArray[np.float32]
"""[layer, concept] of the score over all layers."""

READOUT, COMBINED = "readout", "readout_combined"
"""Fields of an answer: scores [layer][concept] of each token, and the score over all layers, [concept]."""

_PIECE_VALUES = 2**16  # written as JSON at a time: about a megabyte

_BLOCK = 32
_ONES = b"\x01" * _BLOCK
_BLOCK_BYTES = 512  # of a block beside its rows: two array objects and their place in the table


def rows_per_piece(n_layers: int, n_concepts: int) -> int:
    """Return the number of rows that are written as JSON at a time."""
    return max(1, _PIECE_VALUES // (n_layers * n_concepts))


@dataclass(frozen=True, slots=True)
class Fragment:
    """JSON of the rows of some tokens, without brackets: `[...],null`.

    Attributes:
        scores: [layer][concept] of each.
        combined: the score over all layers of each, [concept]; None for a readout without one.
    """

    scores: bytes = b""
    combined: bytes | None = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of an answer that hold the tokens."""
        said = {READOUT: self.scores} | ({} if self.combined is None else {COMBINED: self.combined})
        return {name: msgspec.Raw(b"[" + rows + b"]") for name, rows in said.items()}


def joined(fragments: Sequence[Fragment]) -> Fragment:
    """Return the fragment of all tokens of some fragments of one readout."""
    combined = [each.combined for each in fragments if each.combined is not None]
    tables = [each.scores for each in fragments], combined
    scores, total = (b",".join(rows for rows in table if rows) for table in tables)
    return Fragment(scores, total if combined else None)


class Rows:
    """Rows by position; most positions of a sequence have one, and the others take no room beyond their block."""

    __slots__ = ("_blocks", "_count", "_latest", "_shape")

    def __init__(self) -> None:
        self._blocks: dict[int, tuple[Scores, bytearray]] = {}  # rows, and 1 for each that is there
        self._latest: dict[int, Scores] = {}  # one row each
        self._count = 0
        self._shape: tuple[int, int] = (1, 1)

    def __len__(self) -> int:
        self._settle()
        return self._count

    def __iter__(self) -> Iterator[int]:
        """Iterate over the positions that have a row, in ascending order."""
        self._settle()
        for number in sorted(self._blocks):
            yield from (number * _BLOCK + offset for offset, is_there in enumerate(self._blocks[number][1]) if is_there)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of layers and concepts; (1, 1) before the first row."""
        return self._shape

    @property
    def n_bytes(self) -> int:
        """Memory of all blocks."""
        self._settle()
        return sum(values.nbytes + _BLOCK_BYTES for values, _ in self._blocks.values())

    def append(self, position: int, row: Scores) -> None:
        """Write the row [1, layer, concept] of a position that has none, without a copy for now."""
        self._latest[position] = row
        if position % _BLOCK == _BLOCK - 1:
            self._settle()

    def _settle(self) -> None:
        if latest := self._latest:
            rows = np.concatenate(list(latest.values()))
            number, positions = next(iter(latest)) // _BLOCK, list(latest)
            if number not in self._blocks and positions == list(range(number * _BLOCK, (number + 1) * _BLOCK)):
                self._shape = (rows.shape[1], rows.shape[2])
                self._blocks[number] = rows, bytearray(_ONES)
                self._count += _BLOCK
            else:
                self._write(positions, rows)
            self._latest = {}  # not before, because another thread may read meanwhile

    def put(self, positions: Sequence[int], scores: Scores) -> int:
        """Write rows [token, layer, concept]; return the number of positions that had none before."""
        self._settle()
        return self._write(positions, scores)

    def _write(self, positions: Sequence[int], scores: Scores) -> int:
        before, start = self._count, 0
        self._shape = (scores.shape[1], scores.shape[2])
        while start < len(positions):
            number, offset = divmod(positions[start], _BLOCK)
            stop = min(start + _BLOCK - offset, len(positions))
            if stop - start > 1 and any(
                position != positions[start] + i for i, position in enumerate(positions[start:stop])
            ):
                stop = start + 1  # positions with gaps, which are rare, go one at a time
            values, there = self._blocks.get(number) or self._block(number)
            end = offset + stop - start
            self._count += stop - start - there.count(1, offset, end)
            values[offset:end] = scores[start:stop]
            there[offset:end] = _ONES[: stop - start]
            start = stop
        return self._count - before

    def get(self, position: int) -> Row | None:
        """Return the row at `position`, a view; None if there is none."""
        if (latest := self._latest.get(position)) is not None:
            row: Row = latest[0]
            return row
        number, offset = divmod(position, _BLOCK)
        found = self._blocks.get(number)
        return found[0][offset] if found is not None and found[1][offset] else None

    def cut(self, end: int) -> int:
        """Forget the rows at `end` and after it, and the room that no row fills; return the number of rows forgotten."""
        self._settle()
        before = self._count
        for number, (values, there) in list(self._blocks.items()):
            kept = max(0, min(_BLOCK, end - number * _BLOCK))
            there[kept:] = bytes(_BLOCK - kept)
            used = there.rfind(1) + 1
            # The flags keep their length, so that a position past the array is merely absent.
            self._blocks[number] = (values if used == len(values) else values[:used].copy(), there)
            if not used:
                del self._blocks[number]
        self._count = sum(there.count(1) for _, there in self._blocks.values())
        return before - self._count

    def pieces(self, positions: range, weights: Weights | None = None) -> Iterator[bytes]:
        """Yield the JSON of the rows at `positions`, null where there is none, in pieces without brackets: `[...],null`.

        With `weights`, a row is the weighted sum over layers, [concept].
        """
        size = rows_per_piece(*self._shape)  # known apart, because another thread may put rows meanwhile
        for start in range(positions.start, positions.stop, size):
            rows = [self.get(position) for position in range(start, min(start + size, positions.stop))]
            said = [row if row is None or weights is None else (row * weights).sum(axis=0) for row in rows]
            yield msgspec.json.encode([None if row is None else row.tolist() for row in said])[1:-1]

    def fragment(self, positions: range, weights: Weights | None) -> Fragment:
        """Return the JSON of the rows at `positions`; `weights` are those of the score over all layers."""
        combined = None if weights is None else b",".join(self.pieces(positions, weights))
        return Fragment(b",".join(self.pieces(positions)), combined)

    def _block(self, number: int) -> tuple[Scores, bytearray]:
        made = self._blocks[number] = np.empty((_BLOCK, *self._shape), dtype=np.float32), bytearray(_BLOCK)
        return made
