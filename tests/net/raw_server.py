"""A server of raw bytes on loopback, for answers that no HTTP library would send."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Send = Callable[[bytes], None]


class Stopped(Exception):
    """The block of the server has ended."""


@contextlib.contextmanager
def raw_server(talk: Callable[[bytes, Send], None]) -> Iterator[str]:
    """Answer every request by `talk(request, send)` and hang up after it; yields the address.

    `request` is the head with as much of the body as came with it. `send` ends the talk when the client has hung up or the
    block has ended, so that a talk may be an endless loop.
    """
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        def send(data: bytes) -> None:
            if over.is_set():
                raise Stopped
            connection.sendall(data)

        with connection, contextlib.suppress(OSError, Stopped):
            talk(connection.recv(65536), send)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
