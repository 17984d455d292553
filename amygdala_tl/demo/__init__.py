"""A memory graph to try everything on, and a server that serves it.

`graph.jsonl` is authored data in the reference memory server's format: notes with keys, types, days and tag lines as a
model's own would have. `server.py` serves it (or any such file) over MCP as a node server, on the official SDK, so that
the demo walks the whole way that a real memory graph walks.
"""

from pathlib import Path


def demo_graph_path() -> Path:
    """Where the demo memory graph lies in the installed package."""
    return Path(__file__).with_name("graph.jsonl")
