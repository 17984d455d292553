"""Where a store is: a folder of this machine, or one in an object store, named by a URL that fsspec knows.

Local folders are `pathlib.Path`. `Remote` offers as much of the same interface as a store needs. `put` of an object store is
atomic, and all files of a store but its description and its index are named by their content: two writers write the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from amygdala_tl.errors import InputError, StorageError
from amygdala_tl.files import Kind, atomic_write_bytes, keep_out_of_models, make_folder


@dataclass(frozen=True, slots=True)
class Remote:
    """A file or folder in an object store.

    Attributes:
        files: its fsspec file system.
        path: without the protocol.
        protocol: `s3`, `gs`, `memory`...
    """

    files: Any
    path: str
    protocol: str

    def __truediv__(self, name: str) -> "Remote":
        return Remote(self.files, f"{self.path}/{name}", self.protocol)

    def __str__(self) -> str:
        return f"{self.protocol}://{self.path.lstrip('/')}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.name.rpartition(".")[0]

    @property
    def parent(self) -> "Remote":
        """The folder that it is in."""
        return Remote(self.files, self.path.rpartition("/")[0], self.protocol)

    def __lt__(self, other: "Remote") -> bool:
        return self.path < other.path

    def glob(self, pattern: str) -> "list[Remote]":
        """Return what matches a pattern below this folder."""
        with _refusals(self):
            self.files.invalidate_cache()
            return [
                Remote(self.files, found, self.protocol)
                for found in sorted(self.files.glob(f"{escape(self.path)}/{pattern}"))
            ]

    def is_file(self) -> bool:
        """Say whether there is such a file."""
        with _refusals(self):
            self.files.invalidate_cache()
            return bool(self.files.isfile(self.path))

    def read_bytes(self, start: int = 0, end: int | None = None) -> bytes:
        """Read a part of the file; raises `OSError`."""
        try:
            data: bytes = self.files.cat_file(self.path, start=start or None, end=end)
        except OSError:
            raise
        except Exception as cause:  # every object store has its own, from its own client
            raise OSError(f"{type(cause).__name__}: {cause}") from cause
        return data


Place = Path | Remote


def place(where: "str | Path | Remote") -> Place:
    """Return the place that a path or URL names.

    Raises:
        InputError: the URL's file system is not installed, or cannot be opened.
    """
    if isinstance(where, Path | Remote):
        return where
    protocol, separator, rest = where.partition("://")
    if not separator or protocol == "file":
        return Path(rest if separator else where)
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(where)
    except (ImportError, ValueError) as cause:
        remedy = "install the package that it names, or choose a folder"
        raise InputError("the place cannot be opened", label=where, got=str(cause), remedy=remedy) from cause
    return Remote(files, path.rstrip("/"), protocol)


def make_place(folder: Place) -> None:
    """Make a folder, open to its user only, where folders exist.

    Raises:
        InputError: it is a model's folder.
        StorageError: the disk refuses.
    """
    if isinstance(folder, Path):
        keep_out_of_models(folder, folder)
        make_folder(folder, private=True)


def write(file: Place, data: bytes, kind: Kind) -> None:
    """Write a file, all or nothing.

    Raises:
        StorageError: the disk or the object store refuses.
    """
    if isinstance(file, Path):
        atomic_write_bytes(file, data, kind)
        return
    with _refusals(file):
        file.files.pipe_file(file.path, data)


def size_of(file: Place) -> int:
    """Return the number of bytes of a file; raises `OSError`."""
    if isinstance(file, Path):
        return file.stat().st_size
    file.files.invalidate_cache()
    return int(file.files.size(file.path))


def matching(folder: Place, pattern: str) -> list[Place]:
    """Return the files below a folder that match a pattern, sorted."""
    return [*sorted(folder.glob(pattern))] if isinstance(folder, Path) else [*folder.glob(pattern)]


def sizes(folder: Place, pattern: str) -> dict[str, int]:
    """Return name -> number of bytes of the files in a folder that match, sorted by name."""
    if isinstance(folder, Path):
        return {path.name: path.stat().st_size for path in sorted(folder.glob(pattern))}
    with _refusals(folder):
        folder.files.invalidate_cache()
        found = folder.files.glob(f"{escape(folder.path)}/{pattern}", detail=True)
    return {path.rpartition("/")[2]: int(about["size"]) for path, about in sorted(found.items())}


@contextmanager
def _refusals(where: Remote) -> Iterator[None]:
    try:
        yield
    except Exception as cause:  # every object store has its own, from its own client
        got, remedy = f"{type(cause).__name__}: {cause}", "check the address and the credentials"
        raise StorageError("the object store refuses", label=str(where), got=got, remedy=remedy) from cause
