"""Clients before hostile servers: each must end by itself, in one error, within a time and an amount of memory."""

import itertools
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from starlette.responses import PlainTextResponse, Response

from amygdala_tl.errors import AmygdalaError
from amygdala_tl.live.client import readout_client
from amygdala_tl.memory.client import read_memory_server
from amygdala_tl.settings import ServerLimits
from tests.chaos.forks import Ended, start
from tests.memory.test_mcp_limits import BODIES, BROKEN_HEADS, DRIBBLES, FLOODS, HEAD, JSON, STREAM, flood
from tests.memory.tiny_server import Seen, TinyServer, tools
from tests.net.raw_server import Send, raw_server
from tests.servers import running_app

Talk = Callable[[bytes, Send], None]

LIMITS = ServerLimits(patience=4, listing_seconds=5.0)
SILENCE = 0.5  # seconds
SECONDS, MEGABYTES = 60.0, 400.0
"""What a client may take: the limits of one answer are 256 MB."""


def endless(head: bytes, piece: bytes) -> Talk:
    """An answer of 4 GB."""
    return flood(head, piece, pieces=4096)


def never_ending_pages() -> TinyServer:
    """A memory server whose list of tools has always one page more."""
    numbers = itertools.count()
    return TinyServer(results={"tools/list": lambda _: tools("other", nextCursor=str(next(numbers)))})


def forgetful() -> TinyServer:
    """A memory server that drops every session before a tool is called."""

    async def drop(seen: Seen, server: TinyServer) -> Response | None:
        return Response("Session not found", status_code=404) if "tools/call" in seen.call else None

    return TinyServer(interfere=drop)


def refusing(status: int) -> TinyServer:
    """A server that refuses every request, and says the token that it was given."""

    async def refuse(seen: Seen, server: TinyServer) -> Response:
        return PlainTextResponse(f"no: {seen.headers}", status_code=status, headers={"retry-after": "99"})

    return TinyServer(interfere=refuse)


TALKS: dict[str, Talk] = {
    **FLOODS,
    "4 GB of JSON": endless(HEAD % (JSON, b""), b'"x",'),
    "4 GB in a line of an event": endless(HEAD % (STREAM, b"") + b"data: ", b"x"),
    "4 GB of keep-alives": endless(HEAD % (STREAM, b""), b": ping\n\n"),
    **{f"dribbled: {name}": talk for name, talk in DRIBBLES.items()},
    **{name: (lambda request, send, answer=answer: send(answer)) for name, answer in BROKEN_HEADS.items()},
    **{name: (lambda request, send, body=body: send(HEAD % (JSON, b"") + body)) for name, body in BODIES.items()},
    "silence": lambda request, send: time.sleep(60),
    "hanging up": lambda request, send: None,
}
FAULTS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    **{name: partial(raw_server, talk) for name, talk in TALKS.items()},
    "pages that never end": lambda: running_app(never_ending_pages()),
    "sessions that are always dropped": lambda: running_app(forgetful()),
    **{
        f"HTTP {status}": (lambda status=status: running_app(refusing(status)))
        for status in (400, 401, 403, 421, 429, 500)
    },
}
"""What runs each server; yields its address."""


def ask_memory_server(url: str) -> None:
    """Read a memory graph."""
    read_memory_server(url + "/mcp", timeout=SILENCE, limits=LIMITS)


def ask_readout_server(url: str) -> None:
    """Read a manifest and the stream of a server."""
    with readout_client(url, timeout=SILENCE, limits=LIMITS) as client:
        next(client.stream())


CLIENTS = {"memory server": ask_memory_server, "readout server": ask_readout_server}


def meet(client: str, fault: str, folder: Path) -> tuple[Ended, float]:
    """Let a client meet a server, each in a process of its own; returns how it ended, and the megabytes that it grew by."""
    folder.mkdir(parents=True)
    address = folder / "address"

    def serve() -> None:
        with FAULTS[fault]() as url:
            address.write_text(url)
            signal.pause()

    def ask() -> None:
        try:
            CLIENTS[client](address.read_text())
        except AmygdalaError:
            raise SystemExit(2) from None

    server = start(serve, folder)
    try:
        while not (address.exists() and address.read_text()):
            time.sleep(0.01)
        idle = start(lambda: None, folder).wait()
        ended = start(ask, folder).wait(SECONDS)
    finally:
        server.kill(signal.SIGKILL)
        server.wait()
    return ended, ended.megabytes - idle.megabytes


def problem_of(ended: Ended, grown: float) -> str | None:
    """Say what a client did that it may not; None if it ended in one error."""
    if ended.code == -signal.SIGKILL:
        return f"hung for {SECONDS:.0f} s"
    if ended.code != 2 or "Traceback" in ended.err:
        return f"exit {ended.code}: {ended.err.strip()[-300:]}"
    return f"took {grown:.0f} MB" if grown > MEGABYTES else None
