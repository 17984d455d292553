"""`extract`: a memory graph, from a server or a file, becomes a corpus."""

from collections.abc import Callable
from pathlib import Path

from amygdala_tl.corpus.build import build_corpus
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.errors import InputError
from amygdala_tl.memory.client import read_memory_server
from amygdala_tl.memory.graph_file import read_graph_file
from amygdala_tl.memory.tool_names import ToolNames


def extract(
    *,
    memory_mcp_url: str | None = None,
    memory_file: str | Path | None = None,
    rules: LabelRules | None = None,
    tool_names: ToolNames | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """Read a memory graph and make a corpus from it.

    Args:
        memory_mcp_url: address of an MCP server over streamable HTTP; `AMYGDALA_MCP_TOKEN` holds its bearer token.
        memory_file: the reference memory server's JSONL file, instead of a server.
        rules: what counts as an example; the defaults of `LabelRules` if None.
        tool_names: names of a node server's tools, if they are unusual.
        progress: called with the number of nodes read and their total.

    Raises:
        InputError: both or neither source given.
        MemoryGraphError: the source cannot be read.
        CorpusError: no corpus can be made of it.
    """
    if memory_mcp_url is not None and memory_file is None:
        nodes = read_memory_server(memory_mcp_url, tool_names=tool_names, progress=progress)
    elif memory_file is not None and memory_mcp_url is None:
        nodes = read_graph_file(Path(memory_file))
    else:
        raise InputError("one source is needed", need="memory_mcp_url or memory_file", remedy="give exactly one")
    return build_corpus(nodes, rules or LabelRules())
