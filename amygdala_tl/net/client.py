"""An httpx client for servers that may be slow, broken or hostile.

httpx limits each read, so a server that sends a byte now and then holds it for ever, and it decodes whatever comes. Here an
answer has a deadline too, which also holds while headers dribble, and its decoded bytes are counted.
"""

import math
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from amygdala_tl.net.address import is_here
from amygdala_tl.net.proxies import proxy_of, tls_context

_PIECE = 2**16  # bytes decoded at a time
_SILENCE = 60.0  # seconds, where httpcore sets no limit: while it talks to a SOCKS proxy


class TooMuch(httpx.RequestError):
    """An answer is larger than the client takes, or could become so."""


class Patience(float):
    """Seconds of silence that a read may last, and a deadline for the whole answer. Use it as an httpx timeout.

    Attributes:
        total: seconds for the whole answer.
        deadline: the moment after which no read may last, on the monotonic clock; it can be moved.
    """

    total: float
    deadline: float

    def __new__(cls, silence: float, total: float = math.inf) -> "Patience":
        self = super().__new__(cls, silence)
        self.total, self.deadline = total, time.monotonic() + total
        return self

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()


class Budget:
    """A number of decoded bytes, perhaps within a larger budget."""

    def __init__(self, n_bytes: int, within: "Budget | None" = None) -> None:
        self.size = self._left = n_bytes
        self._within = within

    def spend(self, n_bytes: int) -> None:
        """Count bytes; raises TooMuch when they are more than the budget has."""
        self._left -= n_bytes
        if self._left < 0:
            raise TooMuch(f"more than {self.size:,} bytes")
        if self._within is not None:
            self._within.spend(n_bytes)


def client_of(url: httpx.URL, secret: str | None, **options: Any) -> httpx.Client:
    """Return a client for the server at `url`: it sends the bearer token, follows no redirect, and uses the environment's proxy
    only for other machines, since a proxy cannot reach this one.

    Raises:
        InputError: a variable of the environment is wrong.
    """
    headers = {"accept-encoding": "gzip"} | ({} if secret is None else {"authorization": f"Bearer {secret}"})
    proxy = None if is_here(url) else proxy_of(url)
    context = None if is_here(url) and url.scheme == "http" else tls_context()
    pool = httpcore.ConnectionPool(
        ssl_context=context, proxy=proxy, keepalive_expiry=5.0, max_connections=100, network_backend=_Backend()
    )
    return _Client(headers=headers, follow_redirects=False, transport=_Transport(pool), trust_env=False, **options)


def chunks_of(response: httpx.Response, budget: Budget) -> Iterator[bytes]:
    """Yield the decoded body of a streamed response.

    Raises:
        httpx.RequestError: the connection broke, the deadline passed, the encoding is none that was asked for,
            or the budget is spent (TooMuch).
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise httpx.DecodingError("an answer in an encoding that was not asked for")
    for chunk in response.iter_raw() if encoding == "identity" else _decompressed(response.iter_raw()):
        budget.spend(len(chunk))
        yield chunk


def _decompressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    # httpx decodes a chunk as a whole, which may be a thousand times as large.
    gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        for chunk in chunks:
            while chunk and not gzip.eof:
                yield gzip.decompress(chunk, _PIECE)
                chunk = gzip.unconsumed_tail
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from error


def read_body(response: httpx.Response, budget: Budget) -> bytes:
    """Return the whole body of a streamed response; raises as `chunks_of`."""
    body = bytearray()
    for chunk in chunks_of(response, budget):
        body += chunk
    return bytes(body)


def check_values(text: str | bytes, limit: int) -> None:
    """Refuse JSON of more than about `limit` values, counted by commas and brackets, before it becomes objects.

    `[[],[],...]` takes twenty times its size in memory.

    Raises:
        TooMuch: there are more.
    """
    values = sum(map(text.count, "[{,")) if isinstance(text, str) else sum(map(text.count, (b"[", b"{", b",")))
    if values > limit:
        raise TooMuch(f"more than {limit:,} JSON values")


class _Client(httpx.Client):
    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        try:
            return super().send(request, **options)
        except (httpx.InvalidURL, UnicodeError):  # httpx reads the Location even where it follows no redirect
            raise httpx.RemoteProtocolError("a redirect to no address", request=request) from None


class _Transport(httpx.BaseTransport):
    """httpx over a pool of httpcore; `httpx.HTTPTransport` takes no network backend."""

    def __init__(self, pool: httpcore.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        sent = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _httpx_errors():
            answer = self._pool.handle_request(sent)
        body = _Body(answer.stream)
        return httpx.Response(answer.status, headers=answer.headers, stream=body, extensions=answer.extensions)

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        kind: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
        raise kind(str(error)) from error


class _Backend(httpcore.SyncBackend):
    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any
    ) -> httpcore.NetworkStream:
        timeout = _bounded(timeout, httpcore.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, timeout, *args, **options))


class _Stream(httpcore.NetworkStream):
    """A stream of which no operation lasts longer than a `Patience` allows."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _bounded(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _bounded(timeout, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = _bounded(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()


def _bounded(timeout: float | None, late: type[httpcore.TimeoutException]) -> float:
    if not isinstance(timeout, Patience):
        return _SILENCE if timeout is None else timeout
    left = timeout.left  # read once: it falls with the clock, and a socket refuses a negative number
    if left <= 0:
        raise late(f"no whole answer within {timeout.total:g} s")
    return min(float(timeout), left)
