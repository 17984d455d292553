r"""Text from outside made safe to show: in a terminal, in a table, and in a notebook.

safe("joy\x1b[2J")     -> 'joy\x1b[2J', with a backslash in place of the escape character
shortened(60_000 * "x") -> 'xxx ... (60,000 characters)'
"""

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

FULL_Z = 3.0
"""Standard deviations at which a bar is full and a colour is saturated."""

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
    """Return the text made safe, or its beginning and its length if it has, or is shown in, more than `most` characters."""
    whole = str(text)
    shown = safe(whole[: most + 1])
    return shown if len(shown) <= most else f"{shown[:most]} ... ({len(whole):,} characters)"


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


def html_tokens(pieces: Sequence[str], values: Sequence[float | None], titles: Sequence[str]) -> str:
    """Return a text as HTML, each token on the colour of its z: orange above the mean, blue below, none for None and NaN.

    Args:
        pieces: characters of each token.
        values: z of each token.
        titles: what a pointer over each token shows.
    """
    spans = (
        f'<span title="{escape(safe(title))}" style="background:{_colour(value)}">{escape(safe(piece))}</span>'
        for piece, value, title in zip(pieces, values, titles, strict=True)
    )
    return f'<div style="white-space:pre-wrap;line-height:1.7">{"".join(spans)}</div>'


def html_bars(names: Sequence[str], values: Sequence[float]) -> str:
    """Return an HTML table with a bar for each z, which is full at `FULL_Z` and empty below zero."""
    rows = "".join(
        f'<tr><td>{escape(safe(name))}</td><td><div style="width:8em"><div style="height:.8em;background:#ee9b3d;'
        f'width:{100 * min(max(value, 0.0), FULL_Z) / FULL_Z:.0f}%"></div></div></td><td>{value:+.1f}</td></tr>'
        for name, value in zip(names, values, strict=True)
    )
    return f"<table>{rows}</table>"


def _colour(value: float | None) -> str:
    """Return a colour that lets dark and light text through."""
    if value is None or value != value:
        return "none"
    return f"rgba({'238,155,61' if value > 0 else '74,143,196'},{0.8 * min(abs(value), FULL_Z) / FULL_Z:.2f})"


def cell(value: object) -> str:
    """Return the text of one cell: floats with three digits, None and NaN as a dash."""
    if value is None or value != value:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
