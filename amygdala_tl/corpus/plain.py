"""Text files. A file in the folder of a label is one text; any other `.txt` file holds many.

In a file of many texts every line is a text, or every block between blank lines is. It is blocks if their lines are not whole
sentences (a paragraph that is wrapped), or if blank lines come at least every third line. Stray blank lines join no lines.
"""

import re
from pathlib import Path

from amygdala_tl.errors import CorpusError, InputError
from amygdala_tl.files import read_file

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]\W*$")
_LINES_A_BLOCK = 3


def read_text(path: Path) -> str:
    r"""Return the text of a UTF-8 file, outer white space and byte order mark stripped and line ends as `\n`.

    Raises:
        InputError: there is no such file.
        CorpusError: the file cannot be read, or is not UTF-8 text.
    """
    what, remedy = "not a UTF-8 text", "save the file as UTF-8"
    try:
        text = read_file(path, error=CorpusError, remedy="check its permissions").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        got = f"byte 0x{error.object[error.start]:02x} at offset {error.start}"
        raise CorpusError(what, label=path, got=got, remedy=remedy) from error
    except CorpusError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise InputError("no such file or folder", label=path, remedy="check the path") from error.__cause__
        raise
    if "\0" in text:  # UTF-16 without a byte order mark decodes as UTF-8 with a NUL after every letter
        raise CorpusError(what, label=path, got="NUL characters", remedy=remedy)
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def split_texts(content: str, name: str) -> tuple[list[str], str | None]:
    """Return the texts of a file of many texts, and a notice if it could have been read otherwise."""
    blocks = [[line.strip() for line in block.split("\n") if line.strip()] for block in _BLANK_LINE.split(content)]
    blocks = [block for block in blocks if block]
    lines = [line for block in blocks for line in block]
    if len(lines) == len(blocks):
        return lines, None
    inner = [line for block in blocks for line in block[:-1]]
    wrapped = sum(_SENTENCE_END.search(line) is None for line in inner) > len(inner) / 2
    if (len(blocks) == 1 and not wrapped) or (not wrapped and len(lines) > _LINES_A_BLOCK * len(blocks)):
        notice = f"{name}: read as {len(lines)} texts, one a line, although it has blank lines"
        return lines, notice if len(blocks) > 1 else None
    if len(blocks) == 1 and len(lines) > 1:
        return _one_block(lines, content, name)
    return ["\n".join(block) for block in blocks], f"{name}: read as {len(blocks)} texts, one between blank lines"


def _one_block(lines: list[str], content: str, name: str) -> tuple[list[str], str | None]:
    """Read a file without blank lines: lines, unless they are as long as each other and so a wrapped paragraph."""
    lengths = sorted(map(len, lines[:-1]))
    if lengths[0] >= 50 and lengths[-1] - lengths[0] <= 30:
        return [content], f"{name}: read as one text, a wrapped paragraph"
    return lines, None
