"""The demo memory server: a graph file, served over MCP like the memory of a running model.

It is a node server on the official SDK and speaks both protocol eras over streamable HTTP:

    memory_query{type?, cursor?, limit?}   the nodes' keys, types and days, a page at a time
    memory_render{key}                     one node's markdown
    journal_tail{count?}                   the latest session notes, newest first

`python -m amygdala_tl.demo.server [--port N] [--graph FILE]` serves until interrupted.
"""

import argparse
import logging
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from os import PathLike

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from starlette.applications import Starlette

from amygdala_tl.demo import demo_graph_path
from amygdala_tl.errors import AmygdalaError
from amygdala_tl.memory.graph_file import read_graph_file
from amygdala_tl.net.loopback import running_app
from amygdala_tl.records import Node

PAGE_LIMIT = 100
ENDPOINT = "/mcp"
_JOURNAL_KIND = "episodicSession"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def demo_app(nodes: Sequence[Node], *, sessions: bool = True, stream: bool = True) -> Starlette:
    """Return the web application that serves `nodes` at `/mcp`.

    Args:
        nodes: the nodes, in the order of the list.
        sessions: give clients of the handshake era a session.
        stream: allow answers as an event stream instead of JSON.
    """
    by_key = {node.key: node for node in nodes}
    server = _new_server()

    def listed(node: Node) -> dict[str, str]:
        return {"key": node.key, "type": node.kind, "day": _day(node)}

    @server.tool()
    def memory_query(type: str | None = None, cursor: str | None = None, limit: int = PAGE_LIMIT) -> dict[str, object]:
        """List the nodes of the memory graph, in order; `nextCursor` is absent on the last page."""
        chosen = [node for node in nodes if type is None or node.kind == type]
        start = _start(cursor, len(chosen))
        end = start + min(max(limit, 1), PAGE_LIMIT)
        page: dict[str, object] = {"nodes": [listed(node) for node in chosen[start:end]]}
        return page | ({"nextCursor": str(end)} if end < len(chosen) else {})

    @server.tool()
    def memory_render(key: str) -> str:
        """Render one node as markdown, tag line included."""
        if key not in by_key:
            raise ToolError(f"no node {key!r}")
        return by_key[key].content

    @server.tool()
    def journal_tail(count: int = 10) -> dict[str, object]:
        """Return the latest `count` session notes, newest first."""
        journal = sorted((node for node in nodes if node.kind == _JOURNAL_KIND), key=_day, reverse=True)
        return {"nodes": [listed(node) | {"content": node.content} for node in journal[: max(count, 0)]]}

    return server.streamable_http_app(
        streamable_http_path=ENDPOINT, stateless_http=not sessions, json_response=not stream
    )


@contextmanager
def running_demo_server(
    graph_file: str | PathLike[str] | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> Iterator[str]:
    """Serve a graph file (by default the demo graph) and yield the MCP address, ready for the first request.

    Raises:
        GraphFileError: the file cannot be read.
        InputError: as `running_app`.
    """
    nodes = read_graph_file(demo_graph_path() if graph_file is None else graph_file)
    with running_app(demo_app(nodes), host=host, port=port) as address:
        yield address + ENDPOINT


def main() -> int:
    """Run the command line of `python -m amygdala_tl.demo.server` and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m amygdala_tl.demo.server", description="Serve a memory graph.")
    parser.add_argument("--graph", metavar="FILE", help="JSONL of a reference memory server (default: the demo graph)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    given = parser.parse_args()
    # A shell makes background processes ignore SIGINT, and SIGTERM would leave the port to time out.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with running_demo_server(given.graph, host=given.host, port=given.port) as url, suppress(KeyboardInterrupt):
            sys.stdout.write(f"{url}\n")
            sys.stdout.flush()  # a parent process may wait for the address at a pipe
            threading.Event().wait()
    except AmygdalaError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _new_server() -> MCPServer[None]:
    # The SDK's constructor adds a handler to the root logger, which belongs to the user's process.
    root = logging.getLogger()
    level, handlers = root.level, root.handlers.copy()
    server: MCPServer[None] = MCPServer("amygdala-demo-memory", log_level="ERROR")
    root.setLevel(level)
    root.handlers[:] = handlers
    return server


def _day(node: Node) -> str:
    found = _DAY.search(node.key)
    return found.group() if found else ""


def _start(cursor: str | None, count: int) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or int(cursor) > count:
        raise ToolError(f"no such cursor {cursor!r}")
    return int(cursor)


if __name__ == "__main__":
    sys.exit(main())
