"""Routes `/v1/readout/...` on an HTTP server."""

import asyncio
import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from itertools import chain
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from amygdala_tl.routes.alerts import KEPT
from amygdala_tl.routes.collector import Collector
from amygdala_tl.routes.readers import READER_BYTES, Readers
from amygdala_tl.routes.rows import COMBINED, READOUT
from amygdala_tl.routes.store import Entry

PREFIX = "/v1/readout/"
OWN_KEY = "readout_key"
"""Code of the refusal that asks for the key of these routes, and not for the server's."""

UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Headers of an event stream, which proxies would hold back."""

_KEEP_ALIVE = 15.0  # seconds of silence after which a comment shows that the stream is alive
_BEHIND = f"this reader fell more than {READER_BYTES // 2**20} MiB behind and missed events; connect again"
_KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class FastJSONResponse(JSONResponse):
    """A JSON answer that may hold `msgspec.Raw`, JSON that is written already."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return msgspec.json.encode(content)


def refusal(
    status: int, message: str, *, param: str | None = None, code: str | None = None, **headers: str
) -> FastJSONResponse:
    """Return an error in the shape of OpenAI's servers; `headers` have underscores for hyphens."""
    kind = _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    error = {"message": message, "type": kind, "param": param, "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return FastJSONResponse({"error": error}, status, named)


def readout_routes(collector: Collector, manifest_json: bytes, key: str | None = None) -> list[Route]:
    """Return the routes, over what `collector` has; the manifest is sent as its file holds it.

    With a `key`, the routes demand it as `Authorization: Bearer KEY`.
    """

    async def manifest(request: Request) -> Response:
        """Send the bundle's manifest."""
        return Response(manifest_json, media_type="application/json")

    async def stream(request: Request) -> Response:
        """Send each generated token of each request from now on, as server-sent events."""
        if collector.readers.full:
            return refusal(503, "the stream has as many readers as it takes", Retry_After="10")
        return _streamed(collector.readers, request)

    async def events(request: Request) -> Response:
        """Send each event of an alert from now on, as server-sent events; or the last ones as JSON, with `?last=N`."""
        alerts, last = collector.alerts, request.query_params.get("last")
        if alerts is None:
            return refusal(404, "this server has no alerts; docs/alerts.md says how to set them")
        if last is not None:
            if not last.isdecimal() or len(last) > len(str(KEPT)) or int(last) > KEPT:
                return refusal(400, f"`last` is a number from 0 to {KEPT}", param="last")
            collector.look()
            return FastJSONResponse({"events": [msgspec.Raw(event) for event in alerts.latest(int(last))]})
        if alerts.readers.full:
            return refusal(503, "the events have as many readers as they take", Retry_After="10")
        return _streamed(alerts.readers, request)

    async def of_request(request: Request) -> Response:
        """Send each position of a request, prompt and generated: the stream at that token, null if it was not computed."""
        request_id = request.path_params["request_id"]
        entries = collector.store.find(request_id)
        if not entries:
            return refusal(404, f"request {request_id} is not running and has not recently finished")
        if len({(entry.request_id, entry.index) for entry in entries}) < len(entries):
            what = f"several requests have the id {request_id}; give each its own, or read its answer's `readout`"
            return refusal(409, what)
        return StreamingResponse(_answer(collector, request_id, entries), media_type="application/json")

    def guarded(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def check(request: Request) -> Response:
            if key is not None and not has_key(request.headers.get("authorization", ""), key):
                what = "the readout routes need their own key"
                return refusal(401, what, code=OWN_KEY, WWW_Authenticate="Bearer")
            return await answer(request)

        return check

    paths = {
        "manifest": manifest,
        "stream": stream,
        "events": events,
        "{request_id}": of_request,
    }  # the first that matches wins
    return [Route(PREFIX + path, guarded(answer), methods=["GET"]) for path, answer in paths.items()]


def has_key(authorization: str, key: str) -> bool:
    """Return whether an `Authorization` header carries the key; takes the same time for every wrong one."""
    scheme, _, token = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), key.encode())


def _answer(collector: Collector, request_id: str, entries: list[Entry]) -> Iterator[bytes]:
    """Yield the answer in pieces, in a worker thread, so that it never exists as a whole.

    An answer breaks off, and is no JSON, if its request is forgotten meanwhile: a slow client keeps no memory.
    """
    head = {
        "request_id": request_id,
        "concepts": collector.readout.concepts,
        "layers": collector.readout.layers,
    }
    yield msgspec.json.encode(head)[:-1] + b',"sequences":['
    for number, entry in enumerate(entries):
        ids = [*entry.prompt_ids, *entry.output_ids]
        said = {
            "request_id": entry.request_id,
            "index": entry.index,
            "finished": entry.finished,
            "prompt_tokens": len(entry.prompt_ids),
            **({"token_ids": ids} if collector.with_text else {}),
            **({} if entry.reason is None else {"reason": entry.reason}),
        }
        yield b"," * (number > 0) + msgspec.json.encode(said)[:-1]
        tables = {READOUT: None} | ({} if collector.weights is None else {COMBINED: collector.weights})
        for name, weights in tables.items():
            opening = f',"{name}":['.encode()
            for index, piece in enumerate(chain([opening], entry.rows.pieces(range(len(ids)), weights))):
                if entry.forgotten:
                    return
                yield b"," * (index > 1) + piece
            yield b"]"
        yield b"}"
    yield b"]}"


def _streamed(readers: Readers, request: Request) -> StreamingResponse:
    return StreamingResponse(_events(readers, request), media_type="text/event-stream", headers=UNBUFFERED)


async def _events(readers: Readers, request: Request) -> AsyncGenerator[bytes, None]:
    with readers.reader() as reader:
        yield b": readouts\n\n"
        while not await request.is_disconnected():
            try:
                event = await reader.next(_KEEP_ALIVE)
            except TimeoutError:
                yield b": alive\n\n"
                continue
            said = event if isinstance(event, bytes | None) else await asyncio.to_thread(event)
            if said is None:
                if not reader.dropped:
                    readers.drop(reader)
                yield b"event: dropped\ndata: " + msgspec.json.encode({"reason": _BEHIND}) + b"\n\n"
                return
            yield b"data: " + said + b"\n\n"
