"""Reading a memory server: the one function that the rest of the package calls.

From the outside in: this file finds the endpoint, `session.py` speaks MCP, `wire.py` speaks HTTP, `shapes.py` knows
what memory servers look like. Written on httpx and not on the MCP SDK because reading a graph needs three methods.
"""

import httpx

from amygdala_tl.address import bearer_token, http_address, shown_address, through_proxy
from amygdala_tl.errors import ServerUnreachable
from amygdala_tl.memory.session import NotMcp, connect
from amygdala_tl.memory.shapes import Progress, ToolNames, read_nodes
from amygdala_tl.memory.wire import Wire
from amygdala_tl.records import Node

TOKEN_VARIABLE = "AMYGDALA_MCP_TOKEN"
DEFAULT_TIMEOUT = 30.0


def read_memory_server(
    url: str,
    *,
    token: str | None = None,
    tool_names: ToolNames | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    progress: Progress | None = None,
) -> list[Node]:
    """Read every node of a memory graph over MCP, in the server's order.

    Both protocol eras (2025-11-25 and before with a handshake, 2026-07-28 without) and both server shapes are found
    out by asking.

    Args:
        url: the endpoint; where it is none, the same with `/mcp` appended is tried.
        token: bearer token; without it that of AMYGDALA_MCP_TOKEN, if set. It goes to the origin of `url` only.
        tool_names: what the server calls its tools, where it is not the usual.
        timeout: seconds of silence after which an attempt has failed; a whole answer may take ten times as long.
        progress: called with (nodes read, nodes in all), from the calling thread.

    Raises:
        InputError: `url` is no http(s) address, or the token cannot be sent.
        ServerUnreachable: no answer (after retries), or none that is MCP.
        ServerRefused: authorisation missing, a tool that failed, or tools of neither shape.
    """
    endpoints = _endpoints(url)
    secret = bearer_token(token, TOKEN_VARIABLE)
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    tried: list[str] = []
    with httpx.Client(headers=headers, follow_redirects=False, trust_env=through_proxy(endpoints[0])) as client:
        for endpoint in endpoints:
            wire = Wire(client, endpoint, timeout=timeout, secret=secret)
            session = connect(wire)
            if isinstance(session, NotMcp):
                tried.append(f"{session.came} at {wire.url.path}")
                continue
            try:
                return read_nodes(session, tool_names or ToolNames(), progress or _silent)
            finally:
                session.close()
        raise ServerUnreachable(
            "no MCP server answers at this address",
            label=shown_address(endpoints[0]),
            got="; ".join(tried),
            need="the address of a memory server's MCP endpoint (streamable HTTP)",
            remedy="check the port and the path",
        )


def _endpoints(url: str) -> list[httpx.URL]:
    given = http_address(url)
    path = given.path.rstrip("/")
    return [given] if path.endswith("/mcp") else [given, given.copy_with(path=path + "/mcp")]


def _silent(done: int, total: int) -> None:
    pass
