"""Finished blocks, one JSON line each, found again by the hash of what they were measured on.

A second run measures nothing again, and a run with another option measures only what the option changes. A line that was cut off
when a run was stopped is ignored.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from amygdala_tl.decode import Into
from amygdala_tl.errors import StorageError
from amygdala_tl.files import Kind, append_line, make_folder, read_file
from amygdala_tl.kinds import text_with
from amygdala_tl.steering.blocks import Block

T = TypeVar("T")

BLOCKS = Kind("the journal of a causal check", text_with(r'\A\{"key":"'))


class _Line(msgspec.Struct):
    key: str
    found: msgspec.Raw


class Journal:
    """Blocks in a file, or in memory only if there is no file."""

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._known: dict[str, bytes] = {}
        if self.path is None:
            return
        make_folder(self.path.parent, private=True)
        if self.path.exists():
            remedy = "delete it, or choose another folder for the results"
            for line in read_file(self.path, error=StorageError, remedy=remedy).split(b"\n"):
                try:
                    row = msgspec.json.decode(line, type=_Line)
                except (msgspec.DecodeError, RecursionError):
                    continue
                self._known[row.key] = bytes(row.found)

    def has(self, block: Block) -> bool:
        """Whether a block is there."""
        return block.key in self._known

    def block(self, block: Block, kind: Into[T], measure: Callable[[], T]) -> T:
        """What was found in a block; measured, and kept, if it is not there.

        Args:
            block: everything it depends on.
            kind: type of what is found, with numbers, lists and texts only.
            measure: finds it.

        Raises:
            StorageError: the disk refused.
        """
        key = block.key
        if key not in self._known:
            found = msgspec.json.encode(measure())
            if self.path is not None:
                append_line(
                    self.path, msgspec.json.encode({"key": key, **block.about, "found": msgspec.Raw(found)}), BLOCKS
                )
            self._known[key] = found
        # As it comes back from the file, so that a run that goes on gives the same numbers.
        return msgspec.json.decode(self._known[key], type=kind)
