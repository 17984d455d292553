"""The client of a memory server: the one function that the rest of the package calls.

From the outside in: this file finds the endpoint, `shapes.py` knows what memory servers look like, `tools.py` calls their
tools, `session.py` speaks MCP, `wire.py` speaks HTTP. It uses httpx instead of the MCP SDK because reading a graph needs
three methods.
"""

import contextlib

from amygdala_tl.errors import ServerUnreachable
from amygdala_tl.memory.session import NotMcp, Session
from amygdala_tl.memory.shapes import Progress, read_nodes
from amygdala_tl.memory.tool_names import ToolNames
from amygdala_tl.memory.wire import Wire
from amygdala_tl.net.address import bearer_token, http_address, shown_address
from amygdala_tl.net.client import client_of
from amygdala_tl.records import Node
from amygdala_tl.settings import SERVER, ServerLimits

TOKEN_VARIABLE = "AMYGDALA_MCP_TOKEN"
DEFAULT_TIMEOUT = 30.0


def read_memory_server(
    url: str,
    *,
    token: str | None = None,
    tool_names: ToolNames | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    progress: Progress | None = None,
    limits: ServerLimits = SERVER,
) -> list[Node]:
    """Read every node of a memory graph over MCP, in the server's order.

    The client finds out by asking which protocol era (2025-11-25 and before with a handshake, 2026-07-28 without) and
    which shape the server has.

    Args:
        url: the endpoint; if it does not speak MCP, the client also tries it with `/mcp` appended.
        token: the bearer token, by default AMYGDALA_MCP_TOKEN. The client sends it to the origin of `url` only.
        tool_names: the server's names of its tools, if they differ from the defaults.
        timeout: seconds of silence after which an attempt fails; a whole answer may take ten times as long.
        progress: called with (nodes read, all nodes), from the calling thread.
        limits: what the server may take of memory and time.

    Raises:
        InputError: `url` is not an http(s) address, a header cannot carry the token, or the environment's proxy or
            certificates are wrong.
        ServerUnreachable: no answer after all attempts, no MCP in it, or more than `limits` allow.
        ServerRefused: the server requires authorisation, a tool failed, or the server has the tools of neither shape.
    """
    given = http_address(url)
    path = given.path.rstrip("/")
    endpoints = [given] if path.endswith("/mcp") else [given, given.copy_with(path=path + "/mcp")]
    secret = bearer_token(token, TOKEN_VARIABLE)
    tried: list[str] = []
    with client_of(given, secret) as client:
        for endpoint in endpoints:
            wire = Wire(client, endpoint, timeout=timeout, secret=secret, limits=limits)
            try:
                session = Session(wire)
            except NotMcp as other:
                answer = other.answer
                tried.append(f"{answer.came} at {wire.url.path}" + (f": {answer.words}" if answer.words else ""))
                continue
            with contextlib.closing(session):
                return read_nodes(session, tool_names or ToolNames(), progress or (lambda done, total: None))
    raise ServerUnreachable(
        "no MCP server answers at this address",
        label=shown_address(given),
        got="; ".join(tried),
        need="the address of a memory server's MCP endpoint (streamable HTTP)",
        remedy="check the port and the path",
    )
