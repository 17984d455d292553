"""An input of several parts: files of a folder, or answers of a server, as one text that people can read and edit."""

import re
import tempfile
from pathlib import Path

_MARK = re.compile(rb"^---\n", re.MULTILINE)
_NAME = re.compile(r"[\w.-]{1,40}(/[\w.-]{1,40}){0,3}")
_ROOM = tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
_count = 0


def parts(data: bytes) -> list[bytes]:
    """Cut an input at lines of three dashes."""
    return _MARK.split(data)


def folder_of(data: bytes) -> tuple[Path, list[Path]]:
    """Write the parts of an input as files, and return their folder and their paths.

    The first line of each part names the file. Names that lead out of the folder are left out.
    """
    global _count
    _count += 1
    folder, files = Path(_ROOM.name) / str(_count), []
    folder.mkdir()
    for part in parts(data)[:20]:
        line, _, content = part.partition(b"\n")
        name = line.decode("utf-8", "replace").strip()
        if not _NAME.fullmatch(name) or ".." in name or "./" in name:
            continue
        file = folder / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        except OSError:
            continue
        files.append(file)
    return folder, files
