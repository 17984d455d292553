"""The choice of nodes by type: by the graph's own type names, or by short names."""

from collections.abc import Collection, Mapping

from amygdala_tl.errors import InputError

ALIASES: Mapping[str, tuple[str, ...]] = {
    "journal": ("episodicSession",),
    "digest": ("episodicDaily", "episodicWeekly"),
    "pattern": ("semantic",),
}


def matching_kinds(node_types: Collection[str] | None, kinds: Collection[str]) -> frozenset[str]:
    """Return the graph's type names that match the requested ones, in any case, directly or through `ALIASES`.

    Args:
        node_types: the requested names; None requests all.
        kinds: the type names of the graph; an empty graph matches nothing and raises nothing.

    Raises:
        InputError: a requested name matches no type of the graph.
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
