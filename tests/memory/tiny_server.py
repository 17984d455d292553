"""A hand-written MCP server over real HTTP, for what no well-behaved server does on the wire."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

Message = dict[str, Any]
Frame = Callable[[Message], Response]

GRAPH = {"entities": [{"name": "a", "entityType": "semantic", "observations": ["one", "calm:9"]}], "relations": []}
SESSION = {"mcp-session-id": "session-1"}


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    message: Message

    @property
    def call(self) -> str:
        """The JSON-RPC method, with the tool's name behind it."""
        name = self.message.get("params", {}).get("name", "")
        return f"{self.message.get('method', '')} {name}".strip()


def as_json(message: Message) -> Response:
    """The answer as plain JSON."""
    return JSONResponse(message)


def as_stream(*chunks: bytes, headers: dict[str, str] | None = None) -> Response:
    """An event stream of these chunks, as they are."""

    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return StreamingResponse(body(), media_type="text/event-stream", headers=headers)


@dataclass
class TinyServer:
    """An ASGI application: a reference memory server of the handshake era.

    Attributes:
        frame: how answers to `tools/...` are written.
        interfere: sees every request first; what it returns is the answer, None lets things go their way.
        results: `tools/list` or a tool's name -> result, instead of the usual one.
        seen: every request, in order.
    """

    frame: Frame = as_json
    interfere: Callable[[Seen, "TinyServer"], Awaitable[Response | None]] | None = None
    results: dict[str, Callable[[Message], Message]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        seen = Seen(request.method, request.url.path, dict(request.headers), json.loads(body) if body else {})
        self.seen.append(seen)
        response = await self.interfere(seen, self) if self.interfere else None
        await (response or self.answer(seen))(scope, receive, send)

    def answer(self, seen: Seen) -> Response:
        """The answer of a server that behaves."""
        if seen.path != "/mcp" or seen.method not in ("POST", "DELETE"):
            return Response("not here", status_code=404)
        method, identity = seen.message.get("method"), seen.message.get("id")
        params = seen.message.get("params", {})
        reply = {"jsonrpc": "2.0", "id": identity}
        if method == "initialize":
            result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}}
            result["serverInfo"] = {"name": "tiny", "version": "1"}
            return JSONResponse(reply | {"result": result}, headers=SESSION)
        if seen.method == "DELETE" or identity is None:
            return Response(status_code=202)
        if method == "tools/list":
            return self.frame(reply | {"result": self._result("tools/list", params, tools("read_graph"))})
        if method == "tools/call":
            return self.frame(reply | {"result": self._result(params["name"], params, {"structuredContent": GRAPH})})
        error = {"code": -32601, "message": "Method not found"}
        return JSONResponse(reply | {"error": error})

    def calls(self) -> list[str]:
        """The JSON-RPC methods in the order they came."""
        return [seen.call for seen in self.seen]

    def _result(self, name: str, params: Message, usual: Message) -> Message:
        return self.results[name](params) if name in self.results else usual


def tools(*names: str, **more: object) -> Message:
    """The result of `tools/list`."""
    return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names], **more}


def text(*blocks: str, **more: object) -> Message:
    """The result of a tool that answers text."""
    return {"content": [{"type": "text", "text": block} for block in blocks], **more}


def times(responses: Iterable[Response], *, on: str) -> Callable[[Seen, TinyServer], Awaitable[Response | None]]:
    """Interfere with the first requests of method `on`, one response each."""
    left = list(responses)

    async def interfere(seen: Seen, server: TinyServer) -> Response | None:
        return left.pop(0) if left and seen.call.startswith(on) else None

    return interfere


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
