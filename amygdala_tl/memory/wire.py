"""One MCP endpoint over HTTP: a JSON-RPC message out, its reply back.

This is MCP's "Streamable HTTP" transport: every message is a POST that accepts JSON and an event stream, and the server
chooses. The file handles retries, redirects, limits of time and size, and the token; `session.py` knows what the messages mean.
The client only reads, so it is always safe to ask again.
"""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx
import msgspec

from amygdala_tl.decode import decode
from amygdala_tl.errors import ServerRefused, ServerUnreachable
from amygdala_tl.net.address import shown_address
from amygdala_tl.net.client import Budget, Patience, TooMuch, check_values, chunks_of, read_body
from amygdala_tl.net.quoting import quoted
from amygdala_tl.net.sse import events
from amygdala_tl.settings import SERVER, ServerLimits

ACCEPT = {"accept": "application/json, text/event-stream"}
ATTEMPTS = 4
LONGEST_PAUSE = 10.0  # seconds; the client gives up at once if a server asks for a longer pause
FIRST_PAUSE = 0.25
_MAX_REDIRECTS = 5
_MAX_RESUMES = 5
_WORDS = 4096  # bytes of a refusal's body that are looked at


class RpcError(msgspec.Struct, frozen=True):
    """The error of a JSON-RPC reply."""

    code: int = 0
    message: str = ""
    data: Any = None


class Reply(msgspec.Struct, frozen=True):
    """A JSON-RPC reply: a result or an error."""

    jsonrpc: Literal["2.0"]
    id: Any = None
    result: dict[str, Any] | None = None
    error: RpcError | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one POST: the HTTP status (408 also if a probe timed out), the answer in words (`HTTP 404, text/html`), the
    body's own words if it refuses in plain text or JSON, the JSON-RPC reply if the body holds one, the session it opened, and
    the seconds to wait before the next attempt.
    """

    status: int
    came: str
    words: str = ""
    reply: Reply | None = None
    session_id: str | None = None
    pause: float | None = None


class Wire:
    """The connection to one endpoint. Several threads may use it at once."""

    def __init__(
        self,
        client: httpx.Client,
        url: httpx.URL,
        *,
        timeout: float,
        secret: str | None,
        limits: ServerLimits = SERVER,
    ) -> None:
        self.url = url
        self.label = shown_address(url)
        self.timeout = timeout
        self.limits = limits
        self._client = client
        self._secret = secret
        self._total = Budget(limits.total_bytes)

    def quote(self, words: object) -> str:
        """Shorten a server's own words to one line for a message, with the token hidden."""
        return quoted(words, self._secret)

    def refused(self, what: str, got: object, remedy: str, need: str | None = None) -> ServerRefused:
        """Return an error that quotes what the server gave."""
        return ServerRefused(what, label=self.label, got=self.quote(got), need=need, remedy=remedy)

    def exchange(
        self, message: Mapping[str, Any], headers: Mapping[str, str], *, silence: float | None = None
    ) -> Answer:
        """POST one JSON-RPC message and return the outcome, after up to four attempts within one deadline.

        Connection errors, time-outs, streams that end early, HTTP 429 and 5xx lead to another attempt. The pause before it
        doubles and is jittered, or follows `Retry-After`. A probe names the seconds of `silence` after which it gets
        status 408, without a second attempt.

        Raises:
            ServerUnreachable: no attempt brought an HTTP answer, or the answer is too large.
        """
        limit = silence or self.timeout
        patience = Patience(limit, limit * self.limits.patience)
        attempt = 0
        while True:
            attempt += 1
            asked = None
            try:
                answer = self._once(message, headers, patience)
                asked = answer.pause
                transient = answer.status == 429 or answer.status >= 500
                longest = min(LONGEST_PAUSE, patience.left)
                if not transient or attempt == ATTEMPTS or (asked is not None and asked > longest):
                    return answer
            except httpx.RequestError as error:
                if silence is not None and isinstance(error, httpx.ReadTimeout):
                    return Answer(408, f"no answer within {silence:g} s")
                final = attempt == ATTEMPTS or patience.left <= 0 or not isinstance(error, httpx.TransportError)
                if final:  # without its cause, which quotes the server
                    raise self._unreachable(error, attempt) from None
            # Jitter keeps clients that failed together from coming back together.
            time.sleep(FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.0) if asked is None else asked)

    def delete(self, headers: Mapping[str, str]) -> None:
        """End the session on the server; a failure does not matter."""
        with suppress(httpx.HTTPError), self._open("DELETE", headers, Patience(5.0, 5.0)):
            pass

    def _once(self, message: Mapping[str, Any], headers: Mapping[str, str], patience: Patience) -> Answer:
        budget = Budget(self.limits.answer_bytes, self._total)
        with self._open("POST", headers, patience, message) as response:
            kind = _kind(response)
            came = f"HTTP {response.status_code}" + (f", {kind}" if kind else "")
            if response.next_request is not None:
                came += f", a redirect to {shown_address(response.next_request.url)}"
            reply, words, identity = None, b"", message.get("id")
            if identity is not None and kind == "application/json":
                words = read_body(response, budget)
                check_values(words, self.limits.values)
                reply = find_reply(words, identity)
            elif identity is not None and kind == "text/event-stream" and response.is_success:
                reply = self._streamed(response, identity, headers, patience, budget)
            elif response.is_error and "html" not in kind:
                words = _opening(response)
            said = self.quote(words[:_WORDS].decode(errors="replace")) if response.is_error and reply is None else ""
            session = response.headers.get("mcp-session-id")
            session = session if session and session.isascii() else None  # the protocol demands visible ASCII
            pause = _retry_after(response.headers.get("retry-after", ""))
            return Answer(response.status_code, self.quote(came), said, reply, session, pause)

    def _streamed(
        self, response: httpx.Response, identity: int, headers: Mapping[str, str], patience: Patience, budget: Budget
    ) -> Reply:
        # A server may hang up before its answer and have the client come back for it (protocol 2025-11-25,
        # "Sending Messages to the Server"): GET with the id of the last event, after the pause that it named.
        last_id, pause = "", 1.0
        with ExitStack() as opened:
            for _ in range(1 + _MAX_RESUMES):
                for event in events(chunks_of(response, budget), budget.size):
                    if event.id.isascii() and event.id.isprintable():  # a header will carry it
                        last_id = event.id
                    if event.retry is not None:
                        pause = min(max(event.retry, 0), int(1000 * LONGEST_PAUSE)) / 1000
                    check_values(event.data, self.limits.values)
                    if (reply := find_reply(event.data, identity)) is not None:
                        return reply
                if not last_id:
                    break
                time.sleep(max(0.0, min(pause, patience.left)))
                response = opened.enter_context(self._open("GET", {**headers, "last-event-id": last_id}, patience))
                if _kind(response) != "text/event-stream":
                    break
        raise httpx.RemoteProtocolError("the event stream ended before the answer")

    @contextmanager
    def _open(
        self, method: str, headers: Mapping[str, str], patience: Patience, message: Mapping[str, Any] | None = None
    ) -> Iterator[httpx.Response]:
        headers = {**ACCEPT, **headers}
        request = self._client.build_request(method, self.url, json=message, headers=headers, timeout=patience)
        # httpx would follow a redirect anywhere and turn a POST into a GET at a 302. The message and the token are
        # meant for this origin, so the client follows only a redirect that stays there and keeps the method.
        for _ in range(_MAX_REDIRECTS):
            try:
                response = self._client.send(request, stream=True, follow_redirects=False)
            except httpx.InvalidURL as error:  # httpx has looked where a redirect leads
                raise httpx.RemoteProtocolError("a redirect to what is no address") from error
            if (following := response.next_request) is None or not _stays(request, following):
                break
            response.close()
            request = following
        try:
            yield response
        finally:
            response.close()

    def _unreachable(self, error: httpx.RequestError, attempts: int) -> ServerUnreachable:
        got = self.quote(error) or type(error).__name__
        if isinstance(error, TooMuch):
            need = f"at most {self.limits.answer_bytes:,} bytes in an answer, {self.limits.total_bytes:,} in all"
            what, remedy = (
                "the memory server's answer is too large",
                "check the server, or read the graph from its file",
            )
            return ServerUnreachable(what, label=self.label, got=got, need=need, remedy=remedy)
        return ServerUnreachable(
            f"no answer from the memory server in {attempts} attempt{'s' if attempts > 1 else ''}",
            label=self.label,
            got=f"nothing within {self.timeout:g} s" if got == "timed out" else got,
            remedy="check that the server runs and that the address and port are right",
        )


def find_reply(text: str | bytes, identity: int) -> Reply | None:
    """Return the reply to request `identity` in a JSON text (one message or a batch), or None.

    An error without an id counts, since a server that could not read the request cannot know its id. Notifications,
    the server's own requests and replies to other requests do not count.
    """
    try:
        decoded = decode(text, object, label="", remedy="", error=ServerUnreachable)
    except ServerUnreachable:
        return None
    for message in decoded if isinstance(decoded, list) else [decoded]:
        with suppress(msgspec.ValidationError):
            reply = msgspec.convert(message, Reply)
            ours = type(reply.id) is int and reply.id == identity  # True is 1
            if (ours and reply.result is not None) or ((ours or reply.id is None) and reply.error is not None):
                return reply
    return None


def _kind(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _opening(response: httpx.Response) -> bytes:
    """Return the first bytes of a refusal's body, as far as they can be read."""
    body = b""
    with suppress(httpx.RequestError):
        for chunk in chunks_of(response, Budget(_WORDS)):
            body += chunk
    return body


def _retry_after(value: str) -> float | None:
    """Read seconds or an HTTP date (RFC 9110, section 10.2.3); return None for anything else."""
    with suppress(ValueError, OverflowError, TypeError, IndexError):
        if value.strip().isdecimal():
            return float(value)
        moment = parsedate_to_datetime(value)
        return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    return None


def _stays(request: httpx.Request, following: httpx.Request) -> bool:
    here, there = request.url, following.url
    upgrade = here.scheme == "http" and there.scheme == "https" and here.port is None and there.port is None
    same = here.port == there.port and here.scheme == there.scheme
    return request.method == following.method and here.raw_host == there.raw_host and (same or upgrade)
