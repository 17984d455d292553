"""Files on the disk: read whole with a bound; written atomically, privately, and over nothing but their own kind.

A reader never sees half a file: the bytes go to a temporary file in the same folder, are flushed to the disk, and take the final
name in one step (`os.replace`). A temporary file is locked while its process lives. One that a killed process has left behind is
not, and the next write into its folder removes it.

Each kind of output says how a file of its kind is recognised (`Kind`). An existing file that is none of that kind is never
replaced. Every refusal of the disk becomes a `StorageError` with the path and the reason.
"""

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from amygdala_tl.errors import AmygdalaError, InputError, StorageError

if sys.platform != "win32":  # there, temporary files of killed processes stay
    import fcntl

PathLike = str | os.PathLike[str]

LARGEST = 1 << 30
"""Most bytes of a file that is read whole, unless its reader says another number."""

_WEIGHTS = ("*.safetensors", "*.bin")
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SHARED: ContextVar[bool] = ContextVar("shared", default=False)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of output file.

    Attributes:
        name: with its article, for messages: `a report`.
        recognises: whether the file behind an open stream is of this kind; it reads a bounded part of it.
        private: whether a new file holds what people wrote, and is readable by its user only.
    """

    name: str
    recognises: Callable[[BinaryIO], bool]
    private: bool = True


@contextmanager
def sharing(shared: bool = True) -> Iterator[None]:
    """Inside the block, give new files and folders the mode of the umask, private kinds too."""
    token = _SHARED.set(shared)
    try:
        yield
    finally:
        _SHARED.reset(token)


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


def read_file(path: PathLike, *, remedy: str, error: type[AmygdalaError] = InputError, most: int = LARGEST) -> bytes:
    """Read a whole file.

    Args:
        path: of a regular file; a device or a pipe might never end.
        remedy: what to do about an error.
        error: the class of the error.
        most: largest number of bytes.

    Raises:
        AmygdalaError: as the class `error`; its `__cause__` is the OSError, if there is one.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise error("cannot be read", label=path, got=_special(status.st_mode), need="a file", remedy=remedy)
        with open(path, "rb") as stream:
            data = stream.read() if status.st_size <= most else None  # read(n) takes n bytes at once
    except (OSError, ValueError) as cause:  # ValueError: a NUL character
        got = cause.strerror if isinstance(cause, OSError) else str(cause)
        raise error("cannot be read", label=path, got=got, remedy=remedy) from cause
    if data is None or len(data) > most:
        got, need = f"{status.st_size:,} bytes", f"at most {most:,} bytes"
        raise error("is too large to be read whole", label=path, got=got, need=need, remedy=remedy)
    return data


def read_text(path: PathLike, *, remedy: str, error: type[AmygdalaError] = InputError, most: int = LARGEST) -> str:
    """Read a UTF-8 text, without its byte order mark; arguments and errors as of `read_file`."""
    try:
        return read_file(path, remedy=remedy, error=error, most=most).decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error("is not a UTF-8 text", label=path, got=str(cause), remedy=remedy) from cause


def make_folder(path: PathLike, *, private: bool = False) -> Path:
    """Make a folder and its parents if necessary, and return its path.

    Args:
        path: of the folder.
        private: a new folder is open to its user only, unless in `sharing`; its new parents have the mode of the umask.

    Raises:
        StorageError: a file is in the way, or the disk refuses.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700 if private and not _SHARED.get() else 0o777)
    except (FileExistsError, NotADirectoryError) as error:
        raise _in_the_way(folder, got="a file", need="a folder") from error
    except OSError as error:
        raise _refused("the folder cannot be made", folder, error) from error
    _remove_left_behind(folder)
    return folder


def check_outputs(outputs: Mapping[Path, Kind], inputs: Iterable[PathLike | None] = ()) -> None:
    """Raise unless every output may be written; to call before the work begins.

    Args:
        outputs: file -> its kind.
        inputs: what is read, files and folders; links, other spellings and hard links of a file are that file.

    Raises:
        InputError: an output is an input, or lies in a model's folder.
        StorageError: another kind of file is in the way.
    """
    read = [Path(path) for path in inputs if path is not None]
    for output, kind in outputs.items():
        for path in read:
            if same_file(output, path):
                what = "the output would replace an input"
                raise InputError(what, label=output, got=path, remedy="choose another path for the output")
        keep_out_of_models(Path(os.path.realpath(output)).parent, output)
        try:
            _existing(output, kind)
        except OSError as error:
            raise _refused("the file cannot be written", output, error) from error


def keep_out_of_models(folder: Path, output: PathLike) -> None:
    """Raise InputError if a folder is a checkpoint, in which every weights file counts as a part of the model."""
    with contextlib.suppress(OSError):
        config = folder / "config.json"
        weights = (name for ending in _WEIGHTS for name in folder.glob(ending))
        if config.is_file() and any(weights) and b'"model_type"' in read_file(config, remedy=""):
            what, remedy = "the output would become a part of the model", "choose a folder outside the checkpoint"
            raise InputError(what, label=output, remedy=remedy)


def atomic_write(path: PathLike, write: Callable[[BinaryIO], None], kind: Kind | None = None) -> None:
    """Write a file through `write(stream)`; if that fails, the old file remains.

    The folder must exist (`make_folder`). A symbolic link is followed, so it remains a link. A file that is replaced keeps its
    mode. A new one gets that of the umask, or 0600 if its kind is private. Errors of `write` other than `OSError` pass through
    unchanged.

    Args:
        path: of the file.
        write: called with the stream.
        kind: what is written; None replaces any file.

    Raises:
        StorageError: the disk is full or read-only, the folder is missing, or `path` is a file of another kind or no file.
    """
    shown = Path(path)
    try:
        target = Path(os.path.realpath(shown))
        before = _existing(target, kind, shown)
        _remove_left_behind(target.parent)
        with _temporary(target.parent, _mode(kind)) as (temporary, stream):
            write(stream)
            stream.flush()
            if before is not None:
                os.chmod(temporary, stat.S_IMODE(before.st_mode) & 0o777)
            os.fsync(stream.fileno())
            if sys.platform == "win32":
                stream.close()  # an open file cannot be renamed there
            os.replace(temporary, target)
    except OSError as error:
        raise _refused("the file cannot be written", shown, error) from error
    _sync_folder(target.parent)


def atomic_write_bytes(path: PathLike, data: bytes, kind: Kind | None = None) -> None:
    """Write bytes to a file; all or nothing, raises as `atomic_write`."""

    def write(stream: BinaryIO) -> None:
        stream.write(data)

    atomic_write(path, write, kind)


def atomic_write_text(path: PathLike, text: str, kind: Kind | None = None) -> None:
    """Write a text as UTF-8 with its newlines unchanged; all or nothing, raises as `atomic_write`."""
    atomic_write_bytes(path, text.encode("utf-8"), kind)


def append_line(path: PathLike, line: bytes, kind: Kind) -> None:
    """Append a line to a file, on a line of its own even after one that was cut off.

    Raises:
        StorageError: the disk refuses, or another kind of file is in the way.
    """
    try:
        _existing(Path(path), kind)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), _mode(kind))
        with os.fdopen(descriptor, "r+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, end - 1))
            cut = stream.read(1) not in (b"", b"\n")
            stream.write((b"\n" if cut else b"") + line + b"\n")
    except OSError as error:
        raise _refused("the file cannot be written", Path(path), error) from error


@contextmanager
def unfinished_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent`, removed at the end unless it was renamed; after a kill, a later `make_folder` does it."""
    folder, descriptor = make_folder(parent) / _name(), -1
    try:
        folder.mkdir(mode=0o700)
        if sys.platform != "win32":
            descriptor = os.open(folder, os.O_RDONLY)
            _lock(descriptor)
        yield folder
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def _name() -> str:
    return f".amygdala-{secrets.token_hex(8)}.tmp"


@contextmanager
def _temporary(folder: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a new locked file, which is gone after the block unless it was renamed."""
    try:
        while True:
            path = folder / _name()
            # tempfile ignores the umask and uses mode 0600.
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), mode)
            if _lock(descriptor) and os.fstat(descriptor).st_nlink:
                break
            os.close(descriptor)  # another process took it for one left behind, before it was locked
        with os.fdopen(descriptor, "wb") as stream:
            yield path, stream
    finally:  # also after a signal as soon as there is a file
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    """Lock an open file until it is closed or its process ends; False if another process holds it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, on which nothing is removed either
        return True
    return True


def _remove_left_behind(folder: Path) -> None:
    """Remove the temporary files in a folder whose processes are dead."""
    if sys.platform == "win32":
        return
    for path in folder.glob(".amygdala-*.tmp"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(descriptor)


def _existing(target: Path, kind: Kind | None, shown: Path | None = None) -> os.stat_result | None:
    """Return the status of the file that would be replaced, None if there is none; raise if it must not be."""
    shown = target if shown is None else shown
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    # A user with enough rights could replace /dev/null.
    if not stat.S_ISREG(status.st_mode):
        raise _in_the_way(shown, got=_special(status.st_mode), need="a file")
    if kind is not None and status.st_size:
        with target.open("rb") as stream:
            if not kind.recognises(stream):
                raise _in_the_way(shown, got="another kind of file", need=kind.name)
    return status


def _mode(kind: Kind | None) -> int:
    return 0o600 if kind is not None and kind.private and not _SHARED.get() else 0o666


def same_file(one: PathLike, other: PathLike) -> bool:
    """Say whether two paths lead to one file or folder, by whatever links and spellings."""
    with contextlib.suppress(OSError, ValueError):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def _special(mode: int) -> str:
    return "a folder" if stat.S_ISDIR(mode) else "a special file"


def _sync_folder(folder: Path) -> None:
    """Flush the folder, if the system allows it, so that the new name survives a power cut."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _in_the_way(path: Path, *, got: str, need: str) -> StorageError:
    remedy = f"move it away or choose another {'folder' if need == 'a folder' else 'file'}"
    return StorageError(f"{got} is where {need} should be", label=path, remedy=remedy)


def _refused(what: str, path: Path, error: OSError) -> StorageError:
    remedy = "free some space" if error.errno in _NO_SPACE else "check that you may write there"
    return StorageError(what, label=path, got=error.strerror or str(error), remedy=f"{remedy}, or choose another place")
