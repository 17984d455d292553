"""An object store behind a server of its own, and its fsspec file system: `objects://name` is `name` in the current folder.

The server keeps an object as a file once all of it has arrived, so that a trial can look at a store as at a folder. It refuses
bytes where the disk does, and where a file `room` above the object says that fewer are left.
"""

import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import fsspec

from tests.chaos.forks import start

PORT = "AMYGDALA_CHAOS_OBJECTS"
ROOM = "room"
_LOCK = threading.Lock()


@contextmanager
def object_server(folder: Path) -> Iterator[None]:
    """Run the server in a process of its own; forks of this one find it."""
    listening = folder / "object-server"

    def serve() -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Objects)
        listening.with_suffix(".new").write_text(str(server.server_port))
        listening.with_suffix(".new").rename(listening)
        server.serve_forever()

    process = start(serve, folder)
    try:
        while not listening.exists():
            time.sleep(0.01)
        os.environ[PORT] = listening.read_text()
        yield
    finally:
        os.environ.pop(PORT, None)
        process.kill(signal.SIGKILL)
        process.wait()


def leave_room(folder: Path, size: int) -> None:
    """Let the server take so many bytes more in a trial's folder."""
    folder.with_name(ROOM).write_text(str(size))


def leave_all_room(folder: Path) -> None:
    """Let the server take any number of bytes again."""
    folder.with_name(ROOM).unlink(missing_ok=True)


class _Objects(BaseHTTPRequestHandler):
    """GET gives an object or lists a folder, PUT makes an object."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(unquote(self.path))
        try:
            if path.is_dir():
                objects = [each for each in path.iterdir() if each.suffix != ".put"]
                found = [[each.name, each.is_dir(), each.stat().st_size] for each in objects]
                self._answer(200, json.dumps(found).encode(), folder=True)
            else:
                self._answer(200, path.read_bytes())
        except OSError:
            self._answer(404)

    def do_PUT(self) -> None:
        path, length = Path(unquote(self.path)), int(self.headers["Content-Length"])
        data = self.rfile.read(length)
        if len(data) < length:  # the client is dead
            self.close_connection = True
            return
        part = path.with_name(f"{path.name}.{threading.get_ident()}.put")
        try:
            with _LOCK:
                _take_room(path, length)
                path.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(data)
                part.replace(path)
            self._answer(200)
        except OSError as error:
            part.unlink(missing_ok=True)
            self._answer(507, str(error).encode())

    def _answer(self, status: int, body: bytes = b"", *, folder: bool = False) -> None:
        with suppress(OSError):  # the client may be dead
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Folder", "yes" if folder else "no")
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *said: object) -> None:
        """Say nothing."""


def _take_room(path: Path, length: int) -> None:
    for room in (folder / ROOM for folder in path.parents):
        if room.is_file():
            left = int(room.read_text()) - length
            if left < 0:
                raise OSError("no room is left")
            room.write_text(str(left))


class _ObjectFiles(fsspec.AbstractFileSystem):
    """The server's objects, as `s3fs` gives those of a bucket."""

    protocol = "objects"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return os.path.abspath(path.removeprefix("objects://"))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List a folder, or an object."""
        path = self._strip_protocol(path)
        data, folder = _get(path)
        if not folder:
            return [_about(path, False, len(data))] if detail else [path]
        found = [_about(f"{path}/{name}", inner, size) for name, inner, size in json.loads(data)]
        return found if detail else [each["name"] for each in found]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, size and type."""
        path = self._strip_protocol(path)
        data, folder = _get(path)
        return _about(path, folder, len(data))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return a part of an object."""
        return _get(self._strip_protocol(path))[0][start:end]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Send an object, in two halves, before each of which a trial may kill the process."""
        path = self._strip_protocol(path)
        connection = _connection()
        sys.audit("chaos.put", path)
        connection.putrequest("PUT", quote(path))
        connection.putheader("Content-Length", str(len(value)))
        connection.endheaders(value[: len(value) // 2])
        sys.audit("chaos.put", path)
        connection.send(value[len(value) // 2 :])
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{answer.status}: {answer.read().decode()}")


def _about(path: str, folder: bool, size: int) -> dict[str, Any]:
    return {"name": path, "size": None if folder else size, "type": "directory" if folder else "file"}


def _get(path: str) -> tuple[bytes, bool]:
    connection = _connection()
    connection.request("GET", quote(path))
    answer = connection.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise FileNotFoundError(path)
    return data, answer.headers["Folder"] == "yes"


def _connection() -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", int(os.environ[PORT]), timeout=60)


fsspec.register_implementation("objects", _ObjectFiles)
