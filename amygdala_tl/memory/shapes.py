"""The two shapes of memory server, distinguished by the tools that they list.

- A *node server* lists its nodes with `memory_query` and gives one node's markdown with `memory_render{key}`.
- The *reference server* (npm `@modelcontextprotocol/server-memory`) gives its whole graph with `read_graph`.

A server that has both is read node by node: `memory_render` gives the note as it was written.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from amygdala_tl.decode import convert
from amygdala_tl.errors import ServerRefused
from amygdala_tl.memory.graph_file import Graph, entity_nodes
from amygdala_tl.memory.session import Session
from amygdala_tl.memory.tool_names import ToolNames
from amygdala_tl.memory.tools import Cursor, Tool, ToolAnswer, call_tool, list_tools, pages
from amygdala_tl.records import Node

Progress = Callable[[int, int], None]

CONCURRENT_RENDERS = 4
_LIST_FIELDS = ("nodes", "keys", "entities", "results", "items")
_KEY_FIELDS = ("key", "name", "id")
_KIND_FIELDS = ("type", "kind", "entityType")
_CONTENT_FIELDS = ("content", "markdown", "text", "body")


def read_nodes(session: Session, names: ToolNames, progress: Progress) -> list[Node]:
    """Read every node of the server, in the server's order.

    Raises:
        ServerRefused: the server has the tools of neither shape, a tool failed, or its answer holds no nodes.
        ServerUnreachable: see `Session.request`.
    """
    tools = list_tools(session)
    query, render, graph = (_named(session, tools, name) for name in (names.query, names.render, names.graph))
    if query is not None and render is not None:
        return _read_node_server(session, query, render, names.everything, progress)
    if graph is not None:
        nodes = _read_reference_server(session, graph)
        progress(len(nodes), len(nodes))
        return nodes
    raise session.wire.refused(
        "this MCP server lacks the tools of a memory server",
        "the tools " + ", ".join(sorted(tools)) if tools else "no tools",
        "check the address, or give the server's own tool names",
        f"{names.query} and {names.render}, or {names.graph}",
    )


def _named(session: Session, tools: Mapping[str, Tool], name: str) -> Tool | None:
    """Return the tool `name`, else the one whose name ends with it after a prefix and a sign, None without one."""
    if name in tools:
        return tools[name]
    found = [one for one in sorted(tools) if one.endswith(name) and not one[-len(name) - 1].isalnum()] if name else []
    if len(found) > 1:
        what, remedy = f"several tools of this MCP server are named {name}", "give the whole name of one"
        raise session.wire.refused(what, ", ".join(found), remedy)
    return tools[found[0]] if found else None


def _read_reference_server(session: Session, graph: Tool) -> list[Node]:
    answer = call_tool(session, graph, {})
    if not isinstance(answer.value, dict):
        raise _unclear(session, graph, "an object with a list of `entities`", answer)
    label = f"{session.wire.label}, {graph.name}"
    read = convert(answer.value, Graph, label=label, error=ServerRefused, remedy="correct the graph")
    return entity_nodes(read.entities)


def _read_node_server(session: Session, query: Tool, render: Tool, everything: str, progress: Progress) -> list[Node]:
    kinds: dict[str, str] = {}

    def fetch(cursor: Cursor | None) -> tuple[Mapping[str, str], Cursor | None]:
        demanded = {"query": everything} if "query" in query.input_schema.required else {}
        answer = call_tool(session, query, demanded | ({} if cursor is None else {"cursor": cursor}))
        return _listed(session, query, answer), answer.cursor

    for page in pages(session, query.name, fetch):
        for key, kind in page.items():
            kinds.setdefault(key, kind)

    nodes: list[Node] = []
    executor = ThreadPoolExecutor(CONCURRENT_RENDERS)
    try:
        for node in executor.map(lambda key: _rendered(session, render, key, kinds[key]), kinds):
            nodes.append(node)
            progress(len(nodes), len(kinds))
    finally:
        # After a failure, or Ctrl-C, the client asks for no more nodes.
        executor.shutdown(cancel_futures=True)
    return nodes


def _listed(session: Session, query: Tool, answer: ToolAnswer) -> dict[str, str]:
    """Map key to kind for the nodes of one page: keys, objects with a key, or text with one key a line."""
    value = answer.value
    if isinstance(value, dict):
        value = next((value[field] for field in _LIST_FIELDS if isinstance(value.get(field), list)), None)
    if isinstance(value, str):
        value = [words[0] for line in value.splitlines() if (words := line.removeprefix("- ").split())]
    if not isinstance(value, list):
        raise _unclear(session, query, "a list of nodes", answer)
    found: dict[str, str] = {}
    for item in value:
        key = item if isinstance(item, str) else _first_string(item, _KEY_FIELDS)
        if not key:
            raise _unclear(session, query, "nodes that each have a key", answer)
        found[key] = _first_string(item, _KIND_FIELDS) or ""
    return found


def _rendered(session: Session, render: Tool, key: str, kind: str) -> Node:
    """Read one node: `memory_render` answers text, or an object with the content in a field."""
    answer = call_tool(session, render, {"key": key})
    content: str | None = answer.text
    if isinstance(answer.value, str):
        content = answer.text or answer.value  # a note that reads as JSON (`"quoted"`) keeps its quotes
    elif isinstance(answer.value, dict):
        kind = kind or _first_string(answer.value, _KIND_FIELDS) or ""
        inner = _first_string(answer.value, _CONTENT_FIELDS)
        # An object beside a text that is not JSON describes the note; the text is the note.
        content = answer.text if inner is None and not answer.text.lstrip().startswith("{") else inner
    if content is None:
        raise _unclear(session, render, "the content of the node", answer)
    return Node(key, kind, content)


def _first_string(item: object, fields: tuple[str, ...]) -> str | None:
    if not isinstance(item, dict):
        return None
    return next((item[field] for field in fields if isinstance(item.get(field), str)), None)


def _unclear(session: Session, tool: Tool, need: str, answer: ToolAnswer) -> ServerRefused:
    what = f"the answer of {tool.name} cannot be understood"
    remedy = "check the tool names and the server's version"
    return session.wire.refused(what, answer.text or answer.value, remedy, need)
