"""The reference memory server's own form of a graph, as its JSONL file and its `read_graph` tool give it, and the nodes in it.

Each line of the file is `{"type": "entity", "name", "entityType", "observations"}` or
`{"type": "relation", "from", "to", "relationType"}`. Relations carry no text and are skipped, as are types that later
servers may add. A line that cannot be read is an error with its number, because half a graph trains a wrong model.
"""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import msgspec

from amygdala_tl.decode import convert, decode_lines
from amygdala_tl.errors import GraphFileError
from amygdala_tl.records import Node

_REMEDY = "give the JSONL file of a reference memory server (its MEMORY_FILE_PATH)"


class Entity(msgspec.Struct, frozen=True, rename="camel"):
    """One entity: `{"name": ..., "entityType": ..., "observations": [...]}`."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    observations: tuple[str, ...]
    entity_type: str | None = None


class Graph(msgspec.Struct, frozen=True):
    """The answer of `read_graph`."""

    entities: tuple[Entity, ...]


def entity_nodes(entities: Iterable[Entity]) -> list[Node]:
    """Return one node for each entity name: its key is the name, its content the observations joined by newlines.

    A name that comes again, as in hand-edited files, is the same entity: its new observations are appended, as the
    server's own `add_observations` would do.
    """
    kinds: dict[str, str] = {}
    contents: dict[str, dict[str, None]] = {}
    for entity in entities:
        kinds.setdefault(entity.name, entity.entity_type or "")
        contents.setdefault(entity.name, {}).update(dict.fromkeys(entity.observations))
    return [Node(name, kinds[name], "\n".join(lines)) for name, lines in contents.items()]


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
