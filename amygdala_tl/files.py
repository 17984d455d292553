"""Atomic file writes: every room that writes to disk uses these functions.

A reader never sees half a file: the bytes go to a temporary file in the same folder, are flushed to the disk, and take
the final name in one step (`os.replace`). Every refusal of the disk becomes a `StorageError` with the path and the reason.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from amygdala_tl.errors import StorageError

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def cache_dir() -> Path:
    """Return the folder of what can be made again: `$AMYGDALA_TL_CACHE`, else `amygdala-tl` in the user's cache folder.

    Raises:
        StorageError: the user has no home folder.
    """
    try:
        if named := os.environ.get("AMYGDALA_TL_CACHE"):
            return Path(named).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "amygdala-tl"
    except RuntimeError as cause:
        remedy = "set the variable AMYGDALA_TL_CACHE to a folder"
        raise StorageError("there is no cache folder", got=str(cause), remedy=remedy) from cause


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and its parents if necessary, and return its path.

    Raises:
        StorageError: a file is in the way, or the disk refuses.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise _in_the_way(folder, got="a file", need="a folder") from error
    except OSError as error:
        raise _refused("the folder cannot be made", folder, error) from error
    return folder


def atomic_write(path: str | os.PathLike[str], write: Callable[[BinaryIO], None]) -> None:
    """Write a file through `write(stream)`; if that fails, the old file remains.

    The folder must exist (`make_folder`). A symbolic link is followed, so it remains a link. The file gets the mode that the
    umask gives new files. Errors of `write` other than `OSError` pass through unchanged.

    Raises:
        StorageError: the disk is full or read-only, the folder is missing, or `path` is not a regular file.
    """
    shown = Path(path)
    try:
        target = Path(os.path.realpath(shown))
        # A user with enough rights could replace /dev/null.
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            raise _in_the_way(shown, got="a folder" if target.is_dir() else "a special file", need="a file")
        temporary = target.with_name(f".amygdala-{secrets.token_hex(8)}.tmp")
        try:
            # tempfile ignores the umask and uses mode 0600.
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
            with os.fdopen(descriptor, "wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _refused("the file cannot be written", shown, error) from error
    _sync_folder(target.parent)


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to a file; all or nothing, raises as `atomic_write`."""

    def write(stream: BinaryIO) -> None:
        stream.write(data)

    atomic_write(path, write)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text as UTF-8 with its newlines unchanged; all or nothing, raises as `atomic_write`."""
    atomic_write_bytes(path, text.encode("utf-8"))


def _sync_folder(folder: Path) -> None:
    """Flush the folder, if the system allows it, so that the new name survives a power cut."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _in_the_way(path: Path, *, got: str, need: str) -> StorageError:
    remedy = f"move it away or choose another {need.split()[-1]}"
    return StorageError(f"{got} is where {need} should be", label=path, remedy=remedy)


def _refused(what: str, path: Path, error: OSError) -> StorageError:
    remedy = "free some space" if error.errno in _NO_SPACE else "check that you may write there"
    return StorageError(what, label=path, got=error.strerror or str(error), remedy=f"{remedy}, or choose another place")
