"""Entities, the form in which the reference memory server keeps and answers its graph, and nodes made from them.

The JSONL file and the `read_graph` tool both give entities, so that a graph reads the same from either.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from amygdala_tl.records import Node


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
