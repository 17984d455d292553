"""A web application on a port of this machine, in a thread, for the length of a `with` block."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from amygdala_tl.errors import AmygdalaError, InputError

_START_LIMIT = 20.0  # seconds
_LAST_WORDS = 1.0  # seconds that answers have from the end of the server on
_STOP_LIMIT = 5
_TICK = 1.0  # seconds between two dates in the answers' headers


class _Server(uvicorn.Server):
    """A server that begins to stop when it is asked to; uvicorn looks ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for `stop`, or for what else ends a server."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _TICK)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for the answers that end by themselves soon, and hang up on the clients of all others."""
        hanging_up = asyncio.get_running_loop().call_later(_LAST_WORDS, self._hang_up)
        await super().shutdown(sockets)
        hanging_up.cancel()

    def _hang_up(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def stop(self) -> None:
        """Ask the server to stop, from any thread."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)


@contextmanager
def running_app(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve `app` in a thread and yield its address (`http://127.0.0.1:41234`), ready for connections.

    The block ends with the server stopped and the port closed. Answers that are on their way get a second more.

    Raises:
        InputError: the port is taken, or the host does not belong to this machine.
        AmygdalaError: the application did not start.
    """
    with _listening(host, port) as listener:
        config = uvicorn.Config(
            app, log_level="error", lifespan="on", timeout_graceful_shutdown=_STOP_LIMIT, access_log=False
        )
        server = _Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + _START_LIMIT
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise AmygdalaError("the server did not start", label=host, remedy="see its log above")
                time.sleep(0.01)
            name = f"[{host}]" if ":" in host else host
            yield f"http://{name}:{listener.getsockname()[1]}"
        finally:
            server.stop()
            thread.join(2 * _STOP_LIMIT)


def check_port(host: str, port: int) -> None:
    """Raise InputError, as `running_app` would, if the port cannot be had now."""
    _listening(host, port).close()


def _listening(host: str, port: int) -> socket.socket:
    # Bound here because uvicorn would print and exit the process if the port is taken.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only if the protocol is named; without it every answer of two packets waits 40 ms for a
    # delayed ACK (400 notes took 19 s one by one, now 1).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise InputError(
            "cannot listen here", label=f"{host}:{port}", got=error.strerror, remedy="choose another port"
        ) from error
    return listener
