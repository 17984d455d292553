"""The two eras of MCP behind one `request`.

- 2026-07-28, *stateless*: every request carries its protocol version, client and capabilities in `params._meta`, and
  repeats version, method and tool name in headers that must agree with the body.
- 2025-11-25 and before, *handshake*: `initialize`, `notifications/initialized`, then the negotiated version and the
  server's `mcp-session-id` (if it gave one) on every request, and a DELETE at the end.

The client first asks `server/discover` in the new way. Only an answer that knows the new version settles for it; any
other answer, an error or a plain HTTP 4xx, means an older server, which gets the handshake (the policy of the official
SDKs). An outage says nothing about the era.
"""

import base64
import itertools
import re
import threading
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, TypeVar

from amygdala_tl.decode import Into, convert
from amygdala_tl.errors import ServerRefused, ServerUnreachable
from amygdala_tl.memory.wire import Answer, Reply, RpcError, Wire

STATELESS_VERSION = "2026-07-28"
HANDSHAKE_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
UNSUPPORTED_PROTOCOL_VERSION = -32022
_PROBE_SILENCE = 10.0  # seconds; some older servers never answer a method that they do not know
_META = "io.modelcontextprotocol/"
_HEADER_SAFE = re.compile(r"[\x20-\x7e]*")
_LOST = re.compile(r"session|initiali[sz]", re.IGNORECASE)
_Json = Mapping[str, Any]
_Headers = Mapping[str, str] | None
T = TypeVar("T")


class NotMcp(Exception):
    """An endpoint answers, but not in MCP."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer.came)


class _Era(NamedTuple):
    version: str
    session_id: str | None = None

    def headers(self) -> dict[str, str]:
        session = {} if self.session_id is None else {"mcp-session-id": self.session_id}
        return {"mcp-protocol-version": self.version} | session


_STATELESS = _Era(STATELESS_VERSION)


class Session:
    """A negotiated connection to an MCP server. Several threads may use it at once.

    Raises:
        NotMcp: the endpoint does not speak MCP.
        ServerUnreachable: no HTTP answer, or a server error that stays.
        ServerRefused: the server wants another authorisation or has no protocol version in common.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._ids = itertools.count(1)
        self._renewing = threading.Lock()
        self._era = self._discovered() or self._handshake()

    def request(self, method: str, params: _Json, into: Into[T], mirrored: _Headers = None) -> T:
        """Send one request and return its result as the type `into`.

        If the server has dropped the session, after a restart for instance, it is opened again once. In the stateless era the
        tool's own `Mcp-Param-*` headers go along, `mirrored`.

        Raises:
            ServerUnreachable: no answer, a server error, or an answer that is not MCP.
            ServerRefused: an error reply, a plain HTTP 4xx, a question back, or a result of another type.
        """
        era = self._era
        answer = self._send(era, method, params, mirrored)
        if era.session_id is not None and _dropped(answer):
            answer = self._send(self._renewed(era), method, params, mirrored)
        result = self._reply(answer, method).result or {}
        if result.get("resultType", "complete") != "complete":
            raise ServerRefused(
                f"the server wants more input before it answers {method}",
                label=self.wire.label,
                need="a server that answers without asking back",
                remedy="check which input the server needs",
            )
        label = f"{self.wire.label}, {method}"
        return convert(result, into, label=label, error=ServerRefused, remedy="check the server's version")

    def close(self) -> None:
        """End the session, if there is one."""
        if self._era.session_id is not None:
            self.wire.delete(self._era.headers())

    def _send(
        self, era: _Era | None, method: str, params: _Json, mirrored: _Headers = None, silence: float | None = None
    ) -> Answer:
        headers = {} if era is None else era.headers()
        if era is _STATELESS:
            meta = {"protocolVersion": STATELESS_VERSION, "clientInfo": _client_info(), "clientCapabilities": {}}
            params = {**params, "_meta": {_META + name: value for name, value in meta.items()}}
            name = {"mcp-name": header_value(params["name"])} if "name" in params else {}
            headers = {**headers, "mcp-method": method, **name, **(mirrored or {})}
        message = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        return self.wire.exchange(message, headers, silence=silence)

    def _discovered(self) -> _Era | None:
        """Ask in the new way; return None if the handshake must be tried."""
        answer = self._send(_STATELESS, "server/discover", {}, silence=min(_PROBE_SILENCE, self.wire.timeout))
        if answer.status in (401, 403):
            raise self._unusable(answer)
        reply = answer.reply or Reply("2.0")
        if STATELESS_VERSION in _names(reply.result, "supportedVersions"):
            return _STATELESS
        supported = _supported(reply.error)
        if supported and not set(supported) & set(HANDSHAKE_VERSIONS):
            raise self._no_common_version(supported)
        return None

    def _handshake(self) -> _Era:
        offer = {"protocolVersion": HANDSHAKE_VERSIONS[0], "capabilities": {}, "clientInfo": _client_info()}
        answer = self._send(None, "initialize", offer)
        if answer.reply is None and answer.status not in (401, 403, 429) and answer.status < 500:
            raise NotMcp(answer)
        if answer.reply is not None and STATELESS_VERSION in _supported(answer.reply.error):
            return _STATELESS  # the server started so slowly that the probe timed out
        agreed = (self._reply(answer, "initialize").result or {}).get("protocolVersion")
        if agreed not in HANDSHAKE_VERSIONS:
            raise self._no_common_version([str(agreed)])
        era = _Era(agreed, answer.session_id)
        self.wire.exchange({"jsonrpc": "2.0", "method": "notifications/initialized"}, era.headers())
        return era

    def _renewed(self, dropped: _Era) -> _Era:
        with self._renewing:
            if self._era is dropped:  # else another thread has renewed it
                try:
                    self._era = self._handshake()
                except NotMcp as error:
                    raise ServerUnreachable(
                        "the server dropped the session and opens no new one",
                        label=self.wire.label,
                        got=error,
                        remedy="check that the server runs, then start again",
                    ) from None
            return self._era

    def _reply(self, answer: Answer, method: str) -> Reply:
        """Return the reply with a result, or raise what the answer says instead."""
        if answer.reply is None or answer.status in (401, 403):
            raise self._unusable(answer)
        if (error := answer.reply.error) is not None:
            said = f"{error.message} ({error.code})"
            raise self.wire.refused(f"the memory server refused {method}", said, "check the server's log")
        return answer.reply

    def _unusable(self, answer: Answer) -> ServerRefused | ServerUnreachable:
        """Return the error for an HTTP answer without a reply, or with status 401 or 403."""
        refused = 400 <= answer.status < 500 and answer.status != 408
        what, remedy = "the memory server answers, but not in MCP", "check the address"
        if answer.status in (401, 403):
            what = "the memory server requires authorisation"
            remedy = "set AMYGDALA_MCP_TOKEN to a bearer token that this server accepts"
        elif refused:
            what = "the memory server refused the request"
            remedy = "try again later" if answer.status == 429 else "check the address and the server's log"
        elif answer.status >= 500:
            what, remedy = "the memory server fails", "check the server's log"
        kind = ServerRefused if refused else ServerUnreachable
        words = answer.words if answer.reply is None or answer.reply.error is None else answer.reply.error.message
        got = f"{answer.came}: {self.wire.quote(words)}" if words else answer.came
        return kind(what, label=self.wire.label, got=got, remedy=remedy)

    def _no_common_version(self, supported: list[str]) -> ServerRefused:
        what, need = (
            "the memory server and this client have no protocol version in common",
            (STATELESS_VERSION, *HANDSHAKE_VERSIONS),
        )
        return self.wire.refused(what, ", ".join(supported), "update the server, or amygdala-tl", ", ".join(need))


def _dropped(answer: Answer) -> bool:
    """Whether an answer to a request in a session says that there is no such session (the protocol says 404, servers also 400
    or an error in a reply). Where it means something else, a second try does no harm.
    """
    if answer.status in (400, 404, 410):
        return True
    error = None if answer.reply is None else answer.reply.error
    return error is not None and _LOST.search(error.message) is not None


def header_value(value: str) -> str:
    """Return `value` as a header value, in `=?base64?...?=` if a header cannot carry it as it is (protocol 2026-07-28)."""
    if _HEADER_SAFE.fullmatch(value) and value == value.strip() and not value.startswith("=?base64?"):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


@cache
def _client_info() -> dict[str, str]:
    try:
        known = version("amygdala-tl")
    except PackageNotFoundError:  # run from a checkout
        known = "0"
    return {"name": "amygdala-tl", "version": known}


def _supported(error: RpcError | None) -> list[str]:
    """Return the versions that an error says the server supports."""
    return _names(error.data, "supported") if error is not None and error.code == UNSUPPORTED_PROTOCOL_VERSION else []


def _names(holder: object, field: str) -> list[str]:
    found = holder.get(field) if isinstance(holder, dict) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []
