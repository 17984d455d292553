"""One endpoint over HTTP: a JSON-RPC message out, its answer back, whatever the weather.

The "Streamable HTTP" transport of MCP: every message is a POST that accepts JSON and an event stream, and the server
chooses. Here are retries, redirects, time limits and the token; what the messages mean is `session.py`'s job.
All that is ever asked is reading, so that asking again is always safe.
"""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from amygdala_tl.address import shown_address
from amygdala_tl.errors import ServerUnreachable
from amygdala_tl.memory.jsonrpc import JsonObject, Reply, find_reply
from amygdala_tl.sse import events

ACCEPT = {"accept": "application/json, text/event-stream"}
ATTEMPTS = 4
LONGEST_PAUSE = 10.0  # seconds; a server that asks for a longer one is given up at once
ANSWER_LIMIT = 10  # one whole answer may take this many times the limit on silence
_FIRST_PAUSE = 0.25
_MAX_REDIRECTS = 5
_MAX_RESUMES = 5
_QUOTED = 300  # characters of a server's own words in a message


@dataclass(frozen=True, slots=True)
class Answer:
    """What one POST came to.

    Attributes:
        status: the HTTP status; 408 also stands for a probe that nobody answered in time.
        reply: the JSON-RPC reply, None where the body holds none.
        session_id: the session that the server opened with this answer.
        came: the answer in words, for messages (`HTTP 404, text/html`).
        pause: seconds the server asks to wait before the next attempt.
    """

    status: int
    reply: Reply | None
    session_id: str | None
    came: str
    pause: float | None = None


class Wire:
    """The way to one endpoint. Safe to use from several threads at once."""

    def __init__(self, client: httpx.Client, url: httpx.URL, *, timeout: float, secret: str | None) -> None:
        self.url = url
        self.label = shown_address(url)
        self._client = client
        self.timeout = timeout
        self._secret = secret

    def quote(self, words: object) -> str:
        """A server's own words, fit for a message: one line, not too long, and never with the token in it."""
        text = " ".join(str(words).split())
        if self._secret:
            text = text.replace(self._secret, "***")
        return text if len(text) <= _QUOTED else text[:_QUOTED] + "..."

    def exchange(self, message: JsonObject, headers: Mapping[str, str], *, silence: float | None = None) -> Answer:
        """POST one message and return what came of it, after up to four attempts.

        Connection errors, time-outs, streams that end before the answer, HTTP 429 and 5xx are tried again, after a
        pause that doubles and is jittered, or as long as `Retry-After` says.

        Args:
            message: the JSON-RPC message.
            headers: what the protocol wants beside it.
            silence: give up after so many silent seconds, without a second attempt, with status 408 (for a probe).

        Raises:
            ServerUnreachable: no attempt brought an HTTP answer.
        """
        attempt = 0
        while True:
            attempt += 1
            asked = None
            try:
                answer = self._once(message, headers, silence or self.timeout)
                if not (answer.status == 429 or answer.status >= 500):
                    return answer
                asked = answer.pause
                if attempt == ATTEMPTS or (asked is not None and asked > LONGEST_PAUSE):
                    return answer
            except httpx.TransportError as error:
                if silence is not None and isinstance(error, httpx.ReadTimeout):
                    return Answer(408, None, None, f"no answer within {silence:g} s")
                if attempt == ATTEMPTS:
                    raise self._unreachable(error, attempt) from error
            except httpx.RequestError as error:
                raise self._unreachable(error, attempt) from error
            time.sleep(pause_before(attempt, asked))

    def delete(self, headers: Mapping[str, str]) -> None:
        """Tell the server that the session is over; courtesy only, so no failure matters."""
        try:
            request = self._client.build_request("DELETE", self.url, headers=ACCEPT | dict(headers), timeout=5.0)
            with self._open(request):
                pass
        except httpx.HTTPError:
            return

    def _once(self, message: JsonObject, headers: Mapping[str, str], silence: float) -> Answer:
        request = self._client.build_request(
            "POST", self.url, json=message, headers=ACCEPT | dict(headers), timeout=silence
        )
        deadline = time.monotonic() + ANSWER_LIMIT * silence
        with self._open(request) as response:
            kind = _kind(response)
            came = f"HTTP {response.status_code}" + (f", {kind}" if kind else "")
            if response.next_request is not None:
                target = shown_address(response.next_request.url)
                came = f"{came}, a redirect to {target}"
            session = response.headers.get("mcp-session-id")
            reply = None
            identity = message.get("id")
            if identity is not None and kind == "application/json":
                reply = find_reply(b"".join(_within(deadline, response)), identity)
            elif identity is not None and kind == "text/event-stream" and response.is_success:
                reply = self._streamed(response, identity, headers, deadline)
            return Answer(
                response.status_code,
                reply,
                session if session and session.isascii() else None,  # visible ASCII, says the protocol
                came,
                _retry_after(response.headers.get("retry-after")),
            )

    def _streamed(self, response: httpx.Response, identity: int, headers: Mapping[str, str], deadline: float) -> Reply:
        # A server may hang up before its answer and have the client come back for it (protocol 2025-11-25,
        # "Sending Messages to the Server"): GET with the id of the last event, after the pause that it named.
        last_id: str | None = None
        pause = 1.0
        with ExitStack() as opened:
            for _ in range(1 + _MAX_RESUMES):
                for event in events(_within(deadline, response)):
                    last_id = event.id if event.id and event.id.isascii() else last_id  # it goes into a header
                    pause = pause if event.retry is None else event.retry / 1000
                    if (reply := find_reply(event.data, identity)) is not None:
                        return reply
                if last_id is None:
                    break
                time.sleep(min(pause, LONGEST_PAUSE))
                resume = self._client.build_request(
                    "GET", self.url, headers=ACCEPT | dict(headers) | {"last-event-id": last_id}, timeout=self.timeout
                )
                response = opened.enter_context(self._open(resume))
                if _kind(response) != "text/event-stream":
                    break
        raise httpx.RemoteProtocolError("the event stream ended before the answer")

    @contextmanager
    def _open(self, request: httpx.Request) -> Iterator[httpx.Response]:
        # httpx would follow a redirect anywhere and turn a POST into a GET at a 302; the message and the token were
        # meant for this origin, so only a redirect that stays there and keeps the method is followed.
        for _ in range(_MAX_REDIRECTS):
            response = self._client.send(request, stream=True, follow_redirects=False)
            following = response.next_request
            if following is None or not _stays(request, following):
                break
            response.close()
            request = following
        try:
            yield response
        finally:
            response.close()

    def _unreachable(self, error: httpx.RequestError, attempts: int) -> ServerUnreachable:
        got = self.quote(error) or type(error).__name__
        if got == "timed out":
            got = f"nothing within {self.timeout:g} s"
        return ServerUnreachable(
            f"no answer from the memory server in {attempts} attempts",
            label=self.label,
            got=got,
            remedy="check that the server runs and that the address and port are right",
        )


def pause_before(attempt: int, asked: float | None) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1): what the server asks, else 0.25, 0.5, 1.

    Jittered by up to a half downwards, so that clients that failed together do not come back together.
    """
    if asked is not None:
        return asked
    return float(_FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))


def _kind(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _within(deadline: float, response: httpx.Response) -> Iterator[bytes]:
    # httpx limits silence only; a stream of keep-alives would keep a client waiting forever.
    for chunk in response.iter_bytes():
        yield chunk
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("an answer that does not end")


def _retry_after(value: str | None) -> float | None:
    # Seconds or an HTTP date (RFC 9110, section 10.2.3); anything else is as good as nothing.
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _stays(request: httpx.Request, following: httpx.Request) -> bool:
    here, there = request.url, following.url
    upgrade = here.scheme == "http" and there.scheme == "https" and here.port is None and there.port is None
    same = here.port == there.port and here.scheme == there.scheme
    return request.method == following.method and here.host == there.host and (same or upgrade)
