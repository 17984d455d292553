"""Looking at real traffic: a layer around an ASGI application that notes every request and can play an older server."""

import json
from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amygdala_tl.memory.session import HANDSHAKE_VERSIONS
from tests.memory.tiny_server import Seen


@dataclass
class Recorder:
    """Passes everything through to `app` and keeps it.

    Attributes:
        app: the real server.
        only_handshake: answer as servers did before 2026-07-28: HTTP 400 to a protocol version they do not know.
        seen: every request, in order.
    """

    app: ASGIApp
    only_handshake: bool = False
    seen: list[Seen] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        messages: list[Message] = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        body = b"".join(message.get("body", b"") for message in messages)
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.seen.append(Seen(scope["method"], scope["path"], headers, json.loads(body) if body else {}))
        version = headers.get("mcp-protocol-version")
        if self.only_handshake and version is not None and version not in HANDSHAKE_VERSIONS:
            error = {"code": -32600, "message": f"Bad Request: Unsupported protocol version: {version}"}
            response = JSONResponse({"jsonrpc": "2.0", "id": "server-error", "error": error}, status_code=400)
            await response(scope, receive, send)
            return

        async def replay() -> Message:
            return messages.pop(0) if messages else await receive()

        await self.app(scope, replay, send)

    def calls(self) -> list[str]:
        """The JSON-RPC methods, tools by name, in the order they came."""
        return [seen.call for seen in self.seen]
