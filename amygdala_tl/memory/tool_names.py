"""The names of the tools of a memory server, which the command line knows without an HTTP client."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ToolNames:
    """The names of the tools that the client calls.

    A gateway may put its own prefix before a name (`memory__read_graph`, `server.read_graph`): such a tool is found by the
    name alone, if there is only one.

    Attributes:
        query: lists the nodes, page by page.
        render: gives the content of one node by `key`.
        graph: gives the whole graph as entities.
        everything: the query that means every node, for servers whose `query` tool demands one.
    """

    query: str = "memory_query"
    render: str = "memory_render"
    graph: str = "read_graph"
    everything: str = "all"
