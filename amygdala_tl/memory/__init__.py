"""The first room: notes of a memory graph, read from a running server over MCP or from a file.

A memory graph is a set of *nodes*: notes with a key, a kind and markdown content that may end in a tag line
(`warmth:9 clarity:10`).

    read_memory_server("http://127.0.0.1:7777")   client -> shapes, tools -> session (two protocol eras) -> wire (HTTP)
    read_graph_file("memory.jsonl")               the reference memory server's own file
    split_tag_line(node.content)                  the text that the model may see, and its tags

Both readers return `list[Node]`, and the same graph gives the same list.
"""

from typing import TYPE_CHECKING

from amygdala_tl.lazy import lazily

if TYPE_CHECKING:
    from amygdala_tl.memory.client import read_memory_server
    from amygdala_tl.memory.graph_file import read_graph_file
    from amygdala_tl.memory.notes import split_tag_line
    from amygdala_tl.memory.tags import TagLine
    from amygdala_tl.memory.tool_names import ToolNames

__all__ = ["TagLine", "ToolNames", "read_graph_file", "read_memory_server", "split_tag_line"]

__getattr__ = lazily(
    __name__, client="read_memory_server", graph_file="read_graph_file", notes="split_tag_line", tags="TagLine",
    tool_names="ToolNames",
)  # fmt: skip
