"""Which nodes of a graph are read: by the graph's own type names, or by the short names people say."""

from collections.abc import Collection, Mapping

from amygdala_tl.errors import InputError

ALIASES: Mapping[str, tuple[str, ...]] = {
    "journal": ("episodicSession",),
    "digest": ("episodicDaily", "episodicWeekly"),
    "pattern": ("semantic",),
}


def matching_kinds(node_types: Collection[str] | None, kinds: Collection[str]) -> frozenset[str]:
    """Return those of a graph's type names that are asked for, in any case, by their own names or by `ALIASES`.

    Args:
        node_types: names asked for; None asks for all.
        kinds: the type names that occur in the graph; for an empty graph nothing can match and nothing is refused.

    Raises:
        InputError: a name asked for matches no type of the graph.
    """
    if node_types is None or not kinds:
        return frozenset(kinds)
    matched: set[str] = set()
    for name in node_types:
        wanted = {name.strip().casefold()} | {kind.casefold() for kind in ALIASES.get(name.strip().casefold(), ())}
        found = {kind for kind in kinds if kind.casefold() in wanted}
        if not found:
            raise InputError(
                "no node of the graph is of this type",
                label=f"node_types {name}",
                got=", ".join(sorted(kind or '""' for kind in kinds)),
                remedy=f"use types of this graph, or {', '.join(ALIASES)} where it has their types",
            )
        matched |= found
    return frozenset(matched)
