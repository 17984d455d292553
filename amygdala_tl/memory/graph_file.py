"""A memory graph in a file: the reference memory server's JSONL.

One JSON object a line, `{"type": "entity", "name", "entityType", "observations"}` or
`{"type": "relation", "from", "to", "relationType"}`. Relations carry no text and are skipped, as are types that later
servers may add; a line that cannot be read is an error with its number, because half a graph trains a wrong model.
"""

import json
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from amygdala_tl.errors import GraphFileError
from amygdala_tl.memory.entities import Entity, entity_nodes, parse_entity
from amygdala_tl.records import Node

_REMEDY = "give the JSONL file of a reference memory server (its MEMORY_FILE_PATH)"


def read_graph_file(path: str | PathLike[str]) -> list[Node]:
    """Read every node of a graph file, in the order of the file; blank lines are allowed.

    Raises:
        GraphFileError: the file cannot be opened, or a line of it (named) is not what it should be.
    """
    file = Path(path)
    try:
        raw = file.read_bytes()
    except FileNotFoundError as error:
        raise GraphFileError("no such file", label=file, remedy=_REMEDY) from error
    except OSError as error:
        raise GraphFileError("cannot be read", label=file, got=error.strerror, remedy=_REMEDY) from error
    return entity_nodes(_entities(file, raw))


def _entities(file: Path, raw: bytes) -> Iterator[Entity]:
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        label = f"{file}, line {number}"
        try:
            record = json.loads(line.decode())
        except (ValueError, RecursionError) as error:  # bad UTF-8 and bad JSON are both ValueErrors
            raise GraphFileError(
                "not a line of JSON", label=label, got=error, need="one JSON object a line", remedy=_REMEDY
            ) from error
        if not isinstance(record, dict):
            raise GraphFileError(
                "not a JSON object",
                label=label,
                got=type(record).__name__,
                need="one JSON object a line",
                remedy=_REMEDY,
            )
        if record.get("type") != "entity":
            continue
        try:
            yield parse_entity(record)
        except ValueError as error:
            raise GraphFileError(str(error), label=label, remedy="mend or delete that line") from error
