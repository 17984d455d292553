"""The reference memory server's own form of a graph, as its JSONL file and its `read_graph` tool give it, and the nodes in it.

Each line of the file is `{"type": "entity", "name", "entityType", "observations"}` or
`{"type": "relation", "from", "to", "relationType"}`. Relations carry no text and are skipped, as are types that later
servers may add. A saved answer of `read_graph`, or a list of entities, is read too. A line that cannot be read is an error
with its number, because half a graph trains a wrong model.
"""

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Annotated, Any

import msgspec

from amygdala_tl.decode import convert, decode_records
from amygdala_tl.errors import GraphFileError
from amygdala_tl.files import read_file
from amygdala_tl.memory.notes import known_names, notes_of_observations
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
    """Return one node for each note of an entity; an entity without tags is one note.

    An observation with its own tag line is a note. One that is nothing but tags belongs to the observations before it. The
    observations of an entity without tags are joined by newlines. A name that comes again, as in hand-edited files, is the
    same entity: its new notes are appended, as the server's own `add_observations` would do.
    """
    listed = list(entities)
    known = known_names(observation for entity in listed for observation in entity.observations)
    kinds: dict[str, str] = {}
    notes: dict[str, dict[str, None]] = {}
    plain: dict[str, dict[str, None]] = {}
    for entity in listed:
        kinds.setdefault(entity.name, entity.entity_type or "")
        contents, untagged = notes_of_observations(entity.observations, known)
        notes.setdefault(entity.name, {}).update(dict.fromkeys(contents))
        plain.setdefault(entity.name, {}).update(dict.fromkeys(untagged))
    nodes = []
    for name, kind in kinds.items():
        contents = [*notes[name], *filter(str.strip, plain[name])] if notes[name] else ["\n".join(plain[name])]
        keys = [name] if len(contents) == 1 else [f"{name}, note {n}" for n in range(1, len(contents) + 1)]
        nodes += [Node(key, kind, content) for key, content in zip(keys, contents, strict=True)]
    return nodes


def read_graph_file(path: str | PathLike[str]) -> list[Node]:
    """Read every node of a graph file, in the order of the file; blank lines are allowed.

    Raises:
        GraphFileError: the file cannot be opened, one of its lines (named) cannot be read, or it is no memory graph.
    """
    entities: list[Entity] = []
    strangers: list[str] = []
    records = decode_records(  # which drops the bytes at its end
        read_file(path, error=GraphFileError, remedy=_REMEDY), label=str(path), error=GraphFileError, remedy=_REMEDY
    )
    for place, value in records:
        for record in _records(value):
            if not isinstance(record, dict):
                need, remedy = "an object", "correct or delete that line"
                raise GraphFileError("not a record", label=place, got=type(record).__name__, need=need, remedy=remedy)
            if record.get("type") == "entity" or ("type" not in record and "observations" in record):
                entities.append(
                    convert(record, Entity, label=place, error=GraphFileError, remedy="correct or delete that line")
                )
            elif "type" not in record:
                strangers += [", ".join(list(record)[:6]) or "nothing"]
    if strangers and not entities:
        need = '{"type": "entity", "name": ..., "observations": [...]} on each line'
        raise GraphFileError(
            "not a memory graph", label=path, got=f"records of {strangers[0]}", need=need, remedy=_REMEDY
        )
    return entity_nodes(entities)


def _records(value: Any) -> list[Any]:
    """Return the records in a line or a document: a record, a list of them, or an answer of `read_graph` in its envelope."""
    if isinstance(value, Mapping):
        if isinstance(value.get("structuredContent"), dict):  # a saved answer of the tool
            return _records(value["structuredContent"])
        if isinstance(value.get("result"), dict):
            return _records(value["result"])
        if isinstance(value.get("entities"), list):
            return [{"type": "entity", **each} if isinstance(each, dict) else each for each in value["entities"]]
    return value if isinstance(value, list) else [value]
