"""Routes `/v1/readout/...` on vLLM's own HTTP server."""

import asyncio
import hmac
from collections.abc import AsyncGenerator, Iterator
from itertools import chain
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from amygdala_tl.vllm.collector import Collector
from amygdala_tl.vllm.readers import READER_BYTES
from amygdala_tl.vllm.store import Entry

PREFIX = "/v1/readout/"
_KEEP_ALIVE = 15.0  # seconds of silence after which a comment shows that the stream is alive
_BEHIND = f"this reader fell more than {READER_BYTES // 2**20} MiB behind and missed events; connect again"
_UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # proxies would hold events back


class FastJSONResponse(JSONResponse):  # type: ignore[misc]  # FastAPI comes with vLLM only
    """A JSON answer that may hold `msgspec.Raw`, JSON that is written already."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return msgspec.json.encode(content)


def readout_router(collector: Collector, manifest_json: bytes, key: str | None = None) -> APIRouter:
    """Return the routes, over what `collector` has; the manifest is sent as its file holds it.

    With a `key`, the routes demand it as `Authorization: Bearer KEY`.
    """

    async def guard(request: Request) -> None:
        if key is not None and not has_key(request.headers.get("authorization", ""), key):
            raise HTTPException(401, "the readout routes need their own key", {"WWW-Authenticate": "Bearer"})

    router = APIRouter(dependencies=[Depends(guard)])

    async def manifest() -> Response:
        """Send the bundle's manifest."""
        return Response(manifest_json, media_type="application/json")

    async def stream(request: Request) -> StreamingResponse:
        """Send each generated token of each request from now on, as server-sent events."""
        if collector.readers.full:
            raise HTTPException(503, "the stream has as many readers as it takes", {"Retry-After": "10"})
        return StreamingResponse(_events(collector, request), media_type="text/event-stream", headers=_UNBUFFERED)

    async def of_request(request_id: str) -> StreamingResponse:
        """Send each position of a request, prompt and generated: the stream at that token, null if it was not computed."""
        entries = collector.store.find(request_id)
        if not entries:
            raise HTTPException(404, f"request {request_id} is not running and has not recently finished")
        if len({(entry.request_id, entry.index) for entry in entries}) < len(entries):
            what = f"several requests have the id {request_id}; give each its own, or read its answer's `readout`"
            raise HTTPException(409, what)
        return StreamingResponse(_answer(collector, request_id, entries), media_type="application/json")

    for path, handler in (("manifest", manifest), ("stream", stream), ("{request_id}", of_request)):  # first match wins
        router.add_api_route(PREFIX + path, handler, methods=["GET"], response_model=None)
    return router


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
        opening = b"," * (number > 0) + msgspec.json.encode(said)[:-1] + b',"readout":['
        for index, piece in enumerate(chain([opening], entry.rows.pieces(range(len(ids))))):
            if entry.forgotten:
                return
            yield b"," * (index > 1) + piece
        yield b"]}"
    yield b"]}"


async def _events(collector: Collector, request: Request) -> AsyncGenerator[bytes, None]:
    with collector.readers.reader() as reader:
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
                    collector.readers.drop(reader)
                yield b"event: dropped\ndata: " + msgspec.json.encode({"reason": _BEHIND}) + b"\n\n"
                return
            yield b"data: " + said + b"\n\n"
