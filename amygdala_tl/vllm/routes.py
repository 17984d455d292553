"""Routes `/v1/readout/...` on vLLM's own HTTP server, with the authentication of its other `/v1` routes."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic_core import to_json

from amygdala_tl.vllm.collector import Collector
from amygdala_tl.vllm.store import Entry, as_values

_KEEP_ALIVE = 15.0  # seconds of silence after which a comment shows that the stream is alive


class FastJSONResponse(JSONResponse):  # type: ignore[misc]  # FastAPI comes with vLLM only
    """A JSON answer with many numbers, written by pydantic: twenty times as fast as the standard library."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return to_json(content)


def readout_router(collector: Collector, manifest_json: bytes) -> APIRouter:
    """Return the routes, over what `collector` has; the manifest is sent as its file holds it."""
    router = APIRouter()

    async def manifest() -> Response:
        """Send the bundle's manifest."""
        return Response(manifest_json, media_type="application/json")

    async def stream(request: Request) -> StreamingResponse:
        """Send each generated token of each request from now on, as server-sent events."""
        return StreamingResponse(_events(collector, request), media_type="text/event-stream")

    async def of_request(request_id: str) -> JSONResponse:
        """Send each position of a request, prompt and generated: the stream at that token, null if it was not computed."""
        entries = collector.store.find(request_id)
        if not entries:
            raise HTTPException(404, f"request {request_id} is not running and has not recently finished")
        return FastJSONResponse({
            "request_id": request_id,
            "concepts": list(collector.readout.concepts),
            "layers": list(collector.readout.layers),
            "sequences": [_sequence(entry) for entry in entries],
        })  # fmt: skip

    for path, handler in (("manifest", manifest), ("stream", stream), ("{request_id}", of_request)):  # first match wins
        router.add_api_route(f"/v1/readout/{path}", handler, methods=["GET"], response_model=None)
    return router


def _sequence(entry: Entry) -> dict[str, Any]:
    ids = [*entry.prompt_ids, *entry.output_ids]
    return {
        "request_id": entry.request_id,
        "index": entry.index,
        "finished": entry.finished,
        "prompt_tokens": len(entry.prompt_ids),
        "token_ids": ids,
        "readout": [as_values(entry.rows.get(position)) for position in range(len(ids))],
    }


async def _events(collector: Collector, request: Request) -> AsyncGenerator[str, None]:
    with collector.reader() as queue:
        yield ": readouts\n\n"
        while not await request.is_disconnected():
            try:
                event = await asyncio.wait_for(queue.get(), _KEEP_ALIVE)
            except TimeoutError:
                yield ": alive\n\n"
                continue
            yield f"data: {to_json(event).decode()}\n\n"
