"""JSON-RPC 2.0 messages, as far as a client that only asks needs them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RpcError:
    """The server's no."""

    code: int
    message: str
    data: object = None

    def field(self, name: str) -> object:
        """A field of the error's data, None where there is none."""
        return self.data.get(name) if isinstance(self.data, dict) else None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one request: a result, or an error."""

    result: JsonObject
    error: RpcError | None = None


def request(identity: int, method: str, params: Mapping[str, object]) -> JsonObject:
    """A message that is owed a reply with the same id."""
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": dict(params)}


def notification(method: str) -> JsonObject:
    """A message that is owed nothing."""
    return {"jsonrpc": "2.0", "method": method}


def find_reply(text: str | bytes, identity: int) -> Reply | None:
    """The reply to request `identity` in a JSON text (one message, or a batch of them), else None.

    An error without an id counts: a server that could not read the request cannot know its id. Notifications, requests
    of the server's own and replies to other requests do not.
    """
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for message in decoded if isinstance(decoded, list) else [decoded]:
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or "method" in message:
            continue
        error, result = message.get("error"), message.get("result")
        if isinstance(error, dict) and message.get("id") in (identity, None):
            code = error.get("code")
            return Reply(
                {},
                RpcError(code if isinstance(code, int) else 0, str(error.get("message", "")), error.get("data")),
            )
        if isinstance(result, dict) and message.get("id") == identity:
            return Reply(result)
    return None
