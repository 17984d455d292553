"""Rows of scores of one sequence: arrays by blocks of positions, and their JSON.

A block holds the rows of neighbouring positions in one array, so that a row of a few numbers costs a few bytes.
"""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

Row = npt.NDArray[np.float32]
"""[layer, concept]."""

Scores = npt.NDArray[np.float32]
"""[token, layer, concept]."""

_PIECE_VALUES = 2**16  # written as JSON at a time: about a megabyte

_BLOCK = 32
_BLOCK_BYTES = 512  # of a block beside its rows: two array objects and their place in the table


def rows_per_piece(n_layers: int, n_concepts: int) -> int:
    """Return the number of rows that are written as JSON at a time."""
    return max(1, _PIECE_VALUES // (n_layers * n_concepts))


class Rows:
    """Rows by position; most positions of a sequence have one, and the others take no room beyond their block."""

    __slots__ = ("_blocks", "_count", "_shape")

    def __init__(self) -> None:
        self._blocks: dict[int, tuple[Scores, npt.NDArray[np.bool_]]] = {}
        self._count = 0
        self._shape: tuple[int, int] = (1, 1)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        """Iterate over the positions that have a row, in ascending order."""
        for number in sorted(self._blocks):
            yield from (number * _BLOCK + int(offset) for offset in np.flatnonzero(self._blocks[number][1]))

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of layers and concepts; (1, 1) before the first row."""
        return self._shape

    @property
    def n_bytes(self) -> int:
        """Memory of all blocks."""
        return sum(values.nbytes + _BLOCK_BYTES for values, _ in self._blocks.values())

    def put(self, positions: Sequence[int], scores: Scores) -> int:
        """Write rows [token, layer, concept]; return the number of positions that had none before."""
        before, start = self._count, 0
        self._shape = (scores.shape[1], scores.shape[2])
        while start < len(positions):
            number, offset = divmod(positions[start], _BLOCK)
            stop = min(start + _BLOCK - offset, len(positions))
            if any(position != positions[start] + i for i, position in enumerate(positions[start:stop])):
                stop = start + 1  # positions with gaps, which are rare, go one at a time
            values, there = self._block(number, scores.shape[1:])
            inside = slice(offset, offset + stop - start)
            self._count += stop - start - int(np.count_nonzero(there[inside]))
            values[inside], there[inside] = scores[start:stop], True
            start = stop
        return self._count - before

    def get(self, position: int) -> Row | None:
        """Return the row at `position`, a view; None if there is none."""
        number, offset = divmod(position, _BLOCK)
        values, there = self._blocks.get(number, (None, None))
        return values[offset] if values is not None and there is not None and there[offset] else None

    def cut(self, end: int) -> int:
        """Forget the rows at `end` and after it, and the room that no row fills; return the number of rows forgotten."""
        before = self._count
        for number, (values, there) in list(self._blocks.items()):
            there[max(0, min(_BLOCK, end - number * _BLOCK)) :] = False
            used = int(np.flatnonzero(there)[-1]) + 1 if there.any() else 0
            # The flags keep their length, so that a position past the array is merely absent.
            self._blocks[number] = (values if used == len(values) else values[:used].copy(), there)
            if not used:
                del self._blocks[number]
        self._count = sum(int(np.count_nonzero(there)) for _, there in self._blocks.values())
        return before - self._count

    def pieces(self, positions: range) -> Iterator[bytes]:
        """Yield the JSON of the rows at `positions`, null where there is none, in pieces without brackets: `[...],null`."""
        size = rows_per_piece(*self._shape)  # known apart, because another thread may put rows meanwhile
        for start in range(positions.start, positions.stop, size):
            rows = [self.get(position) for position in range(start, min(start + size, positions.stop))]
            yield msgspec.json.encode([None if row is None else row.tolist() for row in rows])[1:-1]

    def _block(self, number: int, shape: tuple[int, ...]) -> tuple[Scores, npt.NDArray[np.bool_]]:
        if number not in self._blocks:
            self._blocks[number] = (np.empty((_BLOCK, *shape), dtype=np.float32), np.zeros(_BLOCK, dtype=np.bool_))
        return self._blocks[number]
