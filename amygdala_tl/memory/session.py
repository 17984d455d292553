"""The two eras of MCP behind one `request`.

- 2026-07-28, *stateless*: every request carries its protocol version, client and capabilities in `params._meta`, and
  repeats version, method and tool name in headers, which must agree with the body.
- 2025-11-25 and before, *handshake*: `initialize`, `notifications/initialized`, then the negotiated version and the
  `mcp-session-id` that the server gave (it may give none) on every request, and a DELETE at the end.

A server is asked `server/discover` in the new way first. Only an answer that knows the new version settles for it;
any other answer, an error or a plain HTTP 4xx means an older server, which gets the handshake (the policy of the
official SDKs). An outage is not an answer and says nothing about the era.
"""

import base64
import itertools
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from amygdala_tl.errors import ServerRefused, ServerUnreachable
from amygdala_tl.memory.jsonrpc import JsonObject, notification, request
from amygdala_tl.memory.refusals import no_common_version, refused, unusable
from amygdala_tl.memory.wire import Answer, Wire

STATELESS_VERSION = "2026-07-28"
HANDSHAKE_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
SPOKEN = (STATELESS_VERSION, *HANDSHAKE_VERSIONS)
UNSUPPORTED_PROTOCOL_VERSION = -32022
_PROBE_SILENCE = 10.0  # seconds; some older servers never answer a method that they do not know
_META = "io.modelcontextprotocol/"
_HEADER_SAFE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class NotMcp:
    """An endpoint that answers, but not in MCP."""

    came: str


@dataclass(frozen=True, slots=True)
class Stateless:
    """The era of 2026-07-28."""

    def envelope(
        self, method: str, params: Mapping[str, object], mirrored: Mapping[str, str]
    ) -> tuple[JsonObject, dict[str, str]]:
        """Params and headers of one request; `mirrored` are the tool's own `Mcp-Param-*` headers."""
        meta = {
            f"{_META}protocolVersion": STATELESS_VERSION,
            f"{_META}clientInfo": _client_info(),
            f"{_META}clientCapabilities": {},
        }
        headers = {"mcp-protocol-version": STATELESS_VERSION, "mcp-method": method}
        name = params.get("name")
        if method == "tools/call" and isinstance(name, str):
            headers["mcp-name"] = header_value(name)
        return {**params, "_meta": meta}, headers | dict(mirrored)


@dataclass(frozen=True, slots=True)
class Handshaken:
    """The era before, after a handshake."""

    version: str
    session_id: str | None

    def headers(self) -> dict[str, str]:
        """What every request after the handshake carries."""
        session = {} if self.session_id is None else {"mcp-session-id": self.session_id}
        return {"mcp-protocol-version": self.version} | session


class Session:
    """A negotiated connection to an MCP server. Safe to use from several threads at once."""

    def __init__(self, wire: Wire, era: Stateless | Handshaken) -> None:
        self.wire = wire
        self._era = era
        self._ids = itertools.count(100)  # above those of the negotiation
        self._renewing = threading.Lock()

    def request(
        self, method: str, params: Mapping[str, object], mirrored: Mapping[str, str] | None = None
    ) -> JsonObject:
        """Send one request and return its result.

        A session that the server has dropped (404, a restart for instance) is opened again once.

        Raises:
            ServerUnreachable: no answer, a server error, or an answer that is not MCP.
            ServerRefused: an error reply, a plain HTTP 4xx, or a question back that no program can answer.
        """
        era = self._era
        answer = self._send(era, method, params, mirrored or {})
        if answer.status == 404 and isinstance(era, Handshaken) and era.session_id is not None:
            answer = self._send(self._renewed(era), method, params, mirrored or {})
        if answer.reply is None:
            raise unusable(self.wire, answer)
        if answer.reply.error is not None:
            raise refused(self.wire, method, answer, answer.reply.error)
        if answer.reply.result.get("resultType", "complete") != "complete":
            raise ServerRefused(
                f"the server wants more input before it answers {method}",
                label=self.wire.label,
                need="a server that answers without asking back",
                remedy="check what the server needs; nobody is here to be asked",
            )
        return answer.reply.result

    def close(self) -> None:
        """End the session, where there is one."""
        if isinstance(self._era, Handshaken) and self._era.session_id is not None:
            self.wire.delete(self._era.headers())

    def _send(
        self,
        era: Stateless | Handshaken,
        method: str,
        params: Mapping[str, object],
        mirrored: Mapping[str, str],
    ) -> Answer:
        if isinstance(era, Handshaken):
            return self.wire.exchange(request(next(self._ids), method, params), era.headers())
        body, headers = era.envelope(method, params, mirrored)
        return self.wire.exchange(request(next(self._ids), method, body), headers)

    def _renewed(self, dropped: Handshaken) -> Stateless | Handshaken:
        with self._renewing:
            if self._era is dropped:  # else another thread has been here
                renewed = _handshake(self.wire)
                if isinstance(renewed, NotMcp):
                    raise ServerUnreachable(
                        "the server dropped the session and opens no new one",
                        label=self.wire.label,
                        got=renewed.came,
                        remedy="check that the server runs, then start again",
                    )
                self._era = renewed
            return self._era


def connect(wire: Wire) -> Session | NotMcp:
    """Find out which era the endpoint speaks, and open a session.

    Raises:
        ServerUnreachable: no HTTP answer, or a server error that stays.
        ServerRefused: authorisation, or no protocol version in common.
    """
    body, headers = Stateless().envelope("server/discover", {}, {})
    answer = wire.exchange(request(1, "server/discover", body), headers, silence=min(_PROBE_SILENCE, wire.timeout))
    if answer.status in (401, 403):
        raise unusable(wire, answer)
    if answer.reply is not None:
        error, result = answer.reply.error, answer.reply.result
        if error is None and STATELESS_VERSION in _names(result.get("supportedVersions")):
            return Session(wire, Stateless())
        if error is not None and error.code == UNSUPPORTED_PROTOCOL_VERSION:
            supported = _names(error.field("supported"))
            if supported and not set(supported) & set(HANDSHAKE_VERSIONS):
                raise no_common_version(wire, supported, SPOKEN)
    era = _handshake(wire)
    return era if isinstance(era, NotMcp) else Session(wire, era)


def _handshake(wire: Wire) -> Stateless | Handshaken | NotMcp:
    offer = {"protocolVersion": HANDSHAKE_VERSIONS[0], "capabilities": {}, "clientInfo": _client_info()}
    answer = wire.exchange(request(2, "initialize", offer), {})
    if answer.status in (401, 403) or (answer.reply is None and (answer.status == 429 or answer.status >= 500)):
        raise unusable(wire, answer)
    if answer.reply is None:
        return NotMcp(answer.came)
    error, result = answer.reply.error, answer.reply.result
    if error is not None:
        if error.code == UNSUPPORTED_PROTOCOL_VERSION and STATELESS_VERSION in _names(error.field("supported")):
            return Stateless()  # a server so slow to start that it let the probe time out
        raise refused(wire, "initialize", answer, error)
    agreed = result.get("protocolVersion")
    if agreed not in HANDSHAKE_VERSIONS:
        raise no_common_version(wire, [str(agreed)], SPOKEN)
    era = Handshaken(agreed, answer.session_id)
    wire.exchange(notification("notifications/initialized"), era.headers())
    return era


def header_value(value: str) -> str:
    """A header value, base64 in `=?base64?...?=` where it could not travel as it is (protocol 2026-07-28)."""
    if _HEADER_SAFE.fullmatch(value) and value == value.strip() and not value.startswith("=?base64?"):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def _client_info() -> JsonObject:
    try:
        return {"name": "amygdala-tl", "version": version("amygdala-tl")}
    except PackageNotFoundError:  # run from a checkout
        return {"name": "amygdala-tl", "version": "0"}


def _names(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
