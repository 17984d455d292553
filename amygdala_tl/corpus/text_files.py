"""Plain text files: UTF-8, with or without a byte order mark, any line ends."""

import re
from pathlib import Path

from amygdala_tl.errors import CorpusError

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


def read_text_file(path: Path) -> str:
    r"""Return a file's text, outer white space stripped and line ends as `\n`.

    Raises:
        CorpusError: the file cannot be read or is not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, f"byte 0x{error.object[error.start]:02x} at offset {error.start}") from error
    except OSError as error:
        raise CorpusError("cannot be read", label=path, got=error.strerror, remedy="check its permissions") from error
    # UTF-16 without a byte order mark decodes as UTF-8 with a NUL after every letter.
    if "\0" in text:
        raise _not_utf8(path, "NUL characters")
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def texts_of(content: str) -> list[str]:
    """Split a file of many texts at blank lines between texts, or else at every line end."""
    parts = _BLANK_LINE.split(content) if _BLANK_LINE.search(content) else content.split("\n")
    return [part.strip() for part in parts if part.strip()]


def _not_utf8(path: Path, got: str) -> CorpusError:
    return CorpusError("not a UTF-8 text", label=path, got=got, remedy="save the file as UTF-8")
