"""Who may ask: holders of the key, and no page of another origin.

Any page in a browser can send requests to a server on the same machine. It cannot read the answers, but it could keep the model
busy, or read them under a name of its own that leads here (DNS rebinding). So requests of another origin are refused, and a
server for this machine alone answers to this machine's names only.
"""

import os
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from amygdala_tl.errors import InputError
from amygdala_tl.routes.endpoints import has_key, refusal

KEY_VARIABLE = "AMYGDALA_SERVE_KEY"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def key_from_environment() -> str | None:
    """Return the key that clients must know, or None.

    Raises:
        InputError: no header can carry it.
    """
    key = os.environ.get(KEY_VARIABLE)
    if (
        key is not None and re.fullmatch(r"[!-~]+", key) is None
    ):  # one that was not filled in must not leave the server open
        need, remedy = "printable ASCII without spaces", "set it to a secret, or leave it unset"
        raise InputError("no header can carry the server's key", label=KEY_VARIABLE, need=need, remedy=remedy)
    return key


class Guard:
    """ASGI middleware that refuses requests of other origins, and those below `/v1/` without the key."""

    def __init__(self, app: ASGIApp, key: str | None, local: bool) -> None:
        """Guard `app`; `local` for a server that only this machine reaches."""
        self._app, self._key, self._local = app, key, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._local and _name(f"//{host}") not in LOCAL_NAMES:
            answer = refusal(403, "this server answers to the names of this machine only", code="host")
        elif origin is not None and urlsplit(origin).netloc != host:
            answer = refusal(403, "requests of pages of another origin are refused", code="origin")
        elif self._key is not None and scope["path"].startswith("/v1/") and not has_key(
            headers.get("authorization", ""), self._key
        ):  # fmt: skip
            answer = refusal(401, "this server needs an API key", code="invalid_api_key", WWW_Authenticate="Bearer")
        else:
            await self._app(scope, receive, send)
            return
        await answer(scope, receive, send)


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
