"""The first room: notes of a memory graph, read from a running server over MCP or from a file.

A memory graph is a set of *nodes*: notes with a key, a kind and markdown content that may end in a tag line
(`warmth:9 clarity:10`).

    read_memory_server("http://127.0.0.1:7777")   client -> shapes, tools -> session (two protocol eras) -> wire (HTTP)
    read_graph_file("memory.jsonl")               the reference memory server's own file
    split_tag_line(node.content)                  the text that the model may see, and its tags

Both readers return `list[Node]`, and the same graph gives the same list.
"""

from typing import TYPE_CHECKING, Any

from amygdala_tl.memory.graph_file import read_graph_file
from amygdala_tl.memory.tags import TagLine, split_tag_line

if TYPE_CHECKING:
    from amygdala_tl.memory.client import read_memory_server
    from amygdala_tl.memory.shapes import ToolNames

__all__ = ["TagLine", "ToolNames", "read_graph_file", "read_memory_server", "split_tag_line"]


def __getattr__(name: str) -> Any:
    # httpx takes a tenth of a second to import, and a program that only parses tag lines does not need it.
    if name == "read_memory_server":
        from amygdala_tl.memory.client import read_memory_server

        return read_memory_server
    if name == "ToolNames":
        from amygdala_tl.memory.shapes import ToolNames

        return ToolNames
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
