"""Server-sent events: bytes to events, and nothing else (WHATWG HTML, section 9.2).

Lines are split on bytes, at CR, LF and CRLF only. `str.splitlines`, and with it httpx's `iter_lines`, also splits at
U+2028, U+0085 and others, which JSON may carry unescaped in a string: the answer would fall in two.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its data lines joined by newlines, the id to resume after, and the pause asked for (ms)."""

    data: str
    id: str | None
    retry: int | None


def events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Decode a stream of chunks, cut anywhere, into its `message` events.

    Comments and other event types are skipped, and so is an event that the end of the stream cut short. An event
    without data (a server's first word, for resuming) is given with empty data.
    """
    data: list[str] = []
    kind, identity, retry = "message", None, None
    for number, raw in enumerate(_lines(chunks)):
        line = raw.decode("utf-8", "replace")
        if number == 0:
            line = line.removeprefix("\ufeff")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if kind in ("message", "") and (data or identity is not None or retry is not None):
                yield Event("\n".join(data), identity, retry)
            data, kind, identity, retry = [], "message", None, None
        elif field == "data":
            data.append(value)
        elif field == "event":
            kind = value
        elif field == "id" and "\0" not in value:
            identity = value
        elif field == "retry" and value.isascii() and value.isdigit():
            retry = int(value)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    # A line is joined once, when it ends: a graph of 50 MB is one line in thousands of chunks.
    parts: list[bytes] = []
    after_cr = False
    for chunk in chunks:
        if not chunk:
            continue
        # A CR has ended its line already, at once; an LF that belongs to it ends nothing.
        head, *rest = _LINE_END.split(chunk.removeprefix(b"\n") if after_cr else chunk)
        after_cr = chunk.endswith(b"\r")
        parts.append(head)
        for piece in rest:
            yield b"".join(parts)
            parts = [piece]
