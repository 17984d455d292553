"""A memory graph in a file: the reference memory server's JSONL.

Each line is `{"type": "entity", "name", "entityType", "observations"}` or
`{"type": "relation", "from", "to", "relationType"}`. Relations carry no text and are skipped, as are types that later
servers may add. A line that cannot be read is an error with its number, because half a graph trains a wrong model.
"""

from os import PathLike
from pathlib import Path
from typing import Any

from amygdala_tl.decode import convert, decode_lines
from amygdala_tl.errors import GraphFileError
from amygdala_tl.memory.entities import Entity, entity_nodes
from amygdala_tl.records import Node

_REMEDY = "give the JSONL file of a reference memory server (its MEMORY_FILE_PATH)"


def read_graph_file(path: str | PathLike[str]) -> list[Node]:
    """Read every node of a graph file, in the order of the file; blank lines are allowed.

    Raises:
        GraphFileError: the file cannot be opened, or one of its lines (named) cannot be read.
    """
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise GraphFileError("no such file", label=path, remedy=_REMEDY) from error
    except OSError as error:
        raise GraphFileError("cannot be read", label=path, got=error.strerror, remedy=_REMEDY) from error
    records = decode_lines(raw, dict[str, Any], label=str(path), error=GraphFileError, remedy=_REMEDY)
    return entity_nodes(
        convert(record, Entity, label=place, error=GraphFileError, remedy="correct or delete that line")
        for place, record in records
        if record.get("type") == "entity"
    )
