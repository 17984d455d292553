"""Answers that say no, as errors with what, where and what to do next."""

from collections.abc import Sequence

from amygdala_tl.errors import ServerRefused, ServerUnreachable
from amygdala_tl.memory.jsonrpc import RpcError
from amygdala_tl.memory.wire import Answer, Wire


def unusable(wire: Wire, answer: Answer) -> ServerRefused | ServerUnreachable:
    """The error for an HTTP answer that holds no reply (or says 401 or 403, whatever it holds)."""
    if answer.status in (401, 403):
        return ServerRefused(
            "the memory server wants an authorisation that it did not get",
            label=wire.label,
            got=answer.came,
            remedy="set AMYGDALA_MCP_TOKEN to a bearer token that this server accepts",
        )
    if 400 <= answer.status < 500 and answer.status != 408:
        return ServerRefused(
            "the memory server refused the request",
            label=wire.label,
            got=answer.came,
            remedy="try again later" if answer.status == 429 else "check the address and the server's log",
        )
    return ServerUnreachable(
        "the memory server fails" if answer.status >= 500 else "the memory server answers, but not in MCP",
        label=wire.label,
        got=answer.came,
        remedy="check the server's log" if answer.status >= 500 else "check the address",
    )


def refused(wire: Wire, method: str, answer: Answer, error: RpcError) -> ServerRefused | ServerUnreachable:
    """The error for an error reply to `method`."""
    if answer.status in (401, 403):
        return unusable(wire, answer)
    return ServerRefused(
        f"the memory server refused {method}",
        label=wire.label,
        got=f"{wire.quote(error.message)} ({error.code})",
        remedy="check the server's log",
    )


def no_common_version(wire: Wire, supported: Sequence[str], spoken: Sequence[str]) -> ServerRefused:
    """The error for a server that speaks only versions that this client does not."""
    return ServerRefused(
        "the memory server and this client have no protocol version in common",
        label=wire.label,
        got=wire.quote(", ".join(supported)),
        need=", ".join(spoken),
        remedy="update the server, or amygdala-tl",
    )
