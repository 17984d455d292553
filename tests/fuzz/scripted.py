"""A server in one file of text, for clients under fuzzing: no socket, and pauses take no time.

    200 application/json; mcp-session-id: 7
    {"jsonrpc": "2.0", "id": $ID, "result": {}}
    ---
    *

Answers are separated by `---` and given in order: the status with the content type and other headers, then the body, with `$ID`
for the id of the request. `*`, and everything past the last answer, is what a server that behaves would say.
"""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import httpcore

from tests.fuzz.parts import parts

Behaves = Callable[[str, dict[str, Any]], dict[str, Any] | None]
"""Path and JSON of a request -> JSON of the answer, or None for 404."""

_CHUNK = 64  # bytes; a body comes in pieces that cut through characters and lines
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@contextmanager
def scripted(data: bytes, behaves: Behaves) -> Iterator[None]:
    """Let every HTTP client of this process meet the server in `data`."""
    answers = itertools.chain(parts(data), itertools.repeat(b"*"))
    lock = threading.Lock()

    def handle(pool: httpcore.ConnectionPool, request: httpcore.Request) -> httpcore.Response:
        message = json.loads(b"".join(request.stream) or b"{}")
        with lock:
            answer = next(answers)
        if answer.strip() != b"*":
            return _response(answer, message.get("id"))
        said = behaves(request.url.target.decode(), message)
        return _response(b"404" if said is None else b"200 application/json\n" + json.dumps(said).encode(), None)

    # The pool is the last thing before a socket, so all that the package and httpx do is under test.
    with (
        patch.object(httpcore.ConnectionPool, "handle_request", handle),
        patch.object(time, "sleep", lambda seconds: None),
    ):
        yield


def _response(answer: bytes, identity: object) -> httpcore.Response:
    head, _, body = answer.partition(b"\n")
    status, _, rest = head.partition(b" ")
    kind, *more = rest.split(b";")
    headers = [(b"Content-Type", kind.strip())] if kind.strip() else []
    for line in more:
        name, _, value = line.partition(b":")
        if _HEADER.fullmatch(name.strip()):
            headers.append((name.strip(), value.strip()))
    code = int(status) if status.isdigit() and len(status) == 3 and status >= b"200" else 200
    return httpcore.Response(code, headers=headers, content=_pieces(body.replace(b"$ID", str(identity).encode())))


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[start : start + _CHUNK] for start in range(0, len(body), _CHUNK))
