r"""Text from outside made safe to show: in a terminal, in a table, and in a notebook.

safe("joy\x1b[2J")     -> 'joy\x1b[2J', with a backslash in place of the escape character
shortened(60_000 * "x") -> 'xxx ... (60,000 characters)'
"""

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

LONGEST = 2000
"""Most characters that an error message or a table cell shows of one text from outside."""

# Control characters (C0 but tab and newline, DEL, C1), characters without a glyph, bidirectional overrides, lone surrogates. The
# joiners U+200C and U+200D stay: Persian, Indic scripts and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def safe(text: object) -> str:
    r"""Return the text with every character that a terminal obeys or hides written as an escape such as `\x1b`.

    Tabs and newlines stay. A text that is safe already comes back unchanged.
    """
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text).replace("\r\n", "\n"))


def safe_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON on which a terminal acts nowhere; a reader of JSON gets every character back."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def shortened(text: object, most: int = LONGEST) -> str:
    """Return the text, or its beginning and its length if it has more than `most` characters."""
    text = str(text)
    return text if len(text) <= most else f"{text[:most]} ... ({len(text):,} characters)"


def html_table(head: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> str:
    """Return an HTML table; numbers are rounded to three digits after the point.

    Args:
        head: column names.
        rows: cells, as many a row as there are columns.
        caption: text above the table.
    """
    caption = f"<caption>{escape(caption)}</caption>" if caption else ""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell(value))}</td>' for value in row)}</tr>" for row in rows)
    return f"<table>{caption}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def cell(value: object) -> str:
    """Return the text of one cell: floats with three digits, None and NaN as a dash."""
    if value is None or value != value:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
