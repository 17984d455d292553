"""Entities, the form in which the reference memory server keeps and answers its graph, and nodes made of them.

An entity is `{"name": str, "entityType": str, "observations": [str, ...]}`. The JSONL file and the `read_graph`
tool both give entities; both go through here, so that a graph reads the same from either.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from amygdala_tl.records import Node


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity of the reference server's graph."""

    name: str
    kind: str
    observations: tuple[str, ...]


def parse_entity(record: object) -> Entity:
    """Read one decoded JSON entity.

    Raises:
        ValueError: a clause that says what is missing, for the caller to put beside a line or an address.
    """
    if not isinstance(record, dict):
        raise ValueError("an entity must be a JSON object")
    name, kind, observations = (record.get(field) for field in ("name", "entityType", "observations"))
    if not isinstance(name, str) or not name:
        raise ValueError("an entity needs a `name` that is a non-empty string")
    if not isinstance(observations, list) or not all(isinstance(item, str) for item in observations):
        raise ValueError(f"the entity {name!r} needs `observations` that are a list of strings")
    if kind is not None and not isinstance(kind, str):
        raise ValueError(f"the entity {name!r} has an `entityType` that is not a string")
    return Entity(clean_text(name), clean_text(kind or ""), tuple(map(clean_text, observations)))


def entity_nodes(entities: Iterable[Entity]) -> list[Node]:
    """One node an entity name: key is the name, content the observations joined by newlines.

    A name that comes again is the same entity (hand-edited files do that), so the observations it does not have yet
    are appended to it, as the server's own `add_observations` would.
    """
    kinds: dict[str, str] = {}
    contents: dict[str, dict[str, None]] = {}
    for entity in entities:
        kinds.setdefault(entity.name, entity.kind)
        contents.setdefault(entity.name, {}).update(dict.fromkeys(entity.observations))
    return [Node(name, kinds[name], "\n".join(lines)) for name, lines in contents.items()]


def clean_text(text: str) -> str:
    r"""The text with lone surrogates replaced by U+FFFD.

    JSON can carry half a surrogate pair (`"\ud83d"`); such a string cannot be encoded, hence neither hashed,
    tokenized nor written.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
