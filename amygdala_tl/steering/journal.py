"""Finished blocks of a check, one JSON line each, found again by what they were computed from.

A key hashes everything that a block depends on: weights, directions, amounts, prompts, words. So a second run computes nothing
again, and a run with another option computes only what the option changes. A line that was cut off when a run was stopped is
ignored.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from amygdala_tl.errors import StorageError
from amygdala_tl.files import make_folder


class Journal:
    """Blocks in a file, or in memory only if there is no file."""

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._known: dict[str, Mapping[str, Any]] = {}
        if self.path is None:
            return
        make_folder(self.path.parent)
        if self.path.exists():
            try:
                lines = self.path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as cause:
                raise StorageError(
                    "cannot be read", label=str(self.path), remedy="delete it, or choose another --out"
                ) from cause
            for line in lines:
                try:
                    row = json.loads(line)
                    self._known[row["key"]] = row
                except (ValueError, KeyError, TypeError):
                    continue

    def block(self, key: str, about: Mapping[str, Any], compute: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """The block of this key; computed, and kept, if it is not there.

        Args:
            key: from `key_of`.
            about: what it is, for readers of the file.
            compute: gives JSON-ready values.

        Raises:
            StorageError: the disk refused.
        """
        if key not in self._known:
            row = {"key": key, **about, **compute()}
            if self.path is not None:
                self._append(json.dumps(row))
            # As it comes back from the file, so that a run that goes on gives the same numbers.
            self._known[key] = json.loads(json.dumps(row))
        return self._known[key]

    def has(self, key: str) -> bool:
        """Whether the block is there."""
        return key in self._known

    def _append(self, line: str) -> None:
        assert self.path is not None
        try:
            whole = not self.path.exists() or self.path.read_bytes()[-1:] in (b"\n", b"")
            with self.path.open("a", encoding="utf-8") as file:
                file.write(("" if whole else "\n") + line + "\n")
        except OSError as cause:
            raise StorageError(
                "the file cannot be written", label=str(self.path), got=cause.strerror, remedy="free some space"
            ) from cause


def key_of(*parts: object) -> str:
    """sha256, hexadecimal, of tensors (dtype, shape, values) and JSON-ready values."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            digest.update(part.detach().cpu().contiguous().numpy().tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]
