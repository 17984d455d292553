"""A demo memory graph and a server for it.

`graph.jsonl` is authored data in the reference memory server's format: notes with keys, types, days and tag lines like a
model's own. `server.py` serves it (or any such file) over MCP as a node server, on the official SDK, so that the demo takes
the same path as a real memory graph.
"""

from pathlib import Path

__all__ = ["demo_graph_path"]


def demo_graph_path() -> Path:
    """Return the path of the demo memory graph in the installed package."""
    return Path(__file__).with_name("graph.jsonl")
