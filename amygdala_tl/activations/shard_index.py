"""The index of a store: one file with what the headers of its shards say, so that a store of many shards opens at once.

It is a copy and may be missing, stale, damaged or wrong. A shard that it does not list with its present size is opened. Before
an activation is read, the shard's header is compared with what the index said of it (see `ActivationStore`).
"""

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from amygdala_tl.activations.hashed_files import read_json
from amygdala_tl.activations.places import Place, write
from amygdala_tl.activations.shards import Shard
from amygdala_tl.errors import ActivationStoreError, StorageError
from amygdala_tl.files import Kind

NAME = "index.json"
_KIND = Kind("the index of a store", lambda _: True)  # even damaged: it only copies headers


class _Listed(msgspec.Struct):
    size: int
    layers: list[int]
    per_text: float | None
    ids: list[str]


def read_index(folder: Place) -> dict[str, tuple[int, Shard]]:
    """Return name -> size and content of the shards that the index of a store lists; empty if it cannot be read."""
    try:
        found = read_json(folder / NAME, dict[str, _Listed])
    except ActivationStoreError:
        return {}
    return {name: (said.size, _shard(folder / name, said)) for name, said in found.items()}


def _shard(path: Place, said: _Listed) -> Shard:
    rows = {text: row for row, text in enumerate(said.ids)}
    return Shard(path, rows, {layer: column for column, layer in enumerate(said.layers)}, said.per_text)


def write_index(folder: Place, shards: Iterable[tuple[int, Shard]]) -> None:
    """Write the index of a store, unless the disk refuses: a store that one may only read needs none.

    Args:
        folder: of the store.
        shards: size and content of each, sorted by name.
    """
    said = {
        shard.path.name: _Listed(size, list(shard.layers), shard.per_text, list(shard.rows)) for size, shard in shards
    }
    with suppress(StorageError):
        write(folder / NAME, msgspec.json.encode(said), _KIND)
