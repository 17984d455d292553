"""The activation store: a folder of content-addressed shards, so that nothing is computed twice.

    <root>/<key>/store.json                   the model and the capture settings
    <root>/<key>/shard-<hash>.safetensors     some texts at some layers
    <root>/<key>/golden-<hash>.safetensors    what the model gave for the golden texts
    <root>/<key>/left-out-<hash>.json         texts that the model cannot run, with reasons
    <root>/<key>/index.json                   what the headers of the shards say, see `shard_index`

`<root>` is a folder or a URL, see `places`. `key` hashes everything besides text and layer that an activation depends on:
weights, configuration, tokenizer, rendered chat template, engine, dtype, settings, pooling rules. A shard holds, for its texts
and layers, the activations at each read position [text, layer, d_model] in float32 or float16, a sample of their tokens (see
`token_sample`) and, on request, the leading directions of each text's tokens. Shards of earlier versions hold sums over tokens in
place of the sample. On a disk, a shard is written under another name and then renamed, so it is there whole or not at all.
"""

import hashlib
import json
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import filelock
import msgspec
import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.activations.hashed_files import read_json
from amygdala_tl.activations.places import Place, Remote, make_place, matching, place, sizes, write
from amygdala_tl.activations.pooling import SINK_RATIO, Pooled
from amygdala_tl.activations.shard_index import read_index, write_index
from amygdala_tl.activations.shards import SPREAD, Shard, TokenSums, open_shard, sampled_tokens, write_shard
from amygdala_tl.errors import ActivationStoreError, StorageError
from amygdala_tl.files import Kind
from amygdala_tl.kinds import json_with, text_with
from amygdala_tl.records import CaptureSettings, ModelInfo, ReadPosition, TokenPart

_DESCRIPTION = "store.json"
_LOCK = ".capturing"
_CAPTURE = "run `amygdala-tl capture` first"

_STORE = Kind("the description of a store", json_with("model", "settings"))
_LEFT_OUT = Kind("the texts that a model cannot run", text_with(r'\A\{\n "[^"]+": "'))

POOLING_VERSION = 2
"""Increased when the same text under the same settings gives another activation, or another key, than before."""


class _Description(msgspec.Struct):
    model: ModelInfo
    settings: CaptureSettings
    pooling_version: int = 0
    sink_ratio: float = 0.0

    @property
    def current(self) -> bool:
        """True if the activations were pooled by the rules of this version."""
        return (self.pooling_version, self.sink_ratio) == (POOLING_VERSION, SINK_RATIO)


class ActivationStore:
    """Activations of one model (`info`) under one set of capture settings, in the shards of a folder.

    `left_out` says of each text that the model cannot run why. Such texts are never missing, and their activations are NaN.
    """

    def __init__(self, folder: Place, info: ModelInfo, settings: CaptureSettings) -> None:
        self.folder, self.info, self.settings = folder, info, settings
        self.refresh()

    @classmethod
    def for_model(
        cls, root: str | Place, info: ModelInfo, settings: CaptureSettings, *, make: bool = True
    ) -> "ActivationStore":
        """Open the store below `root` for this model and these settings; `make` it when something is added.

        Raises:
            ActivationStoreError: a shard cannot be read, the store has other rules, or it is missing and must not be made.
            InputError, StorageError: `root` is a URL, and its file system is not installed or refuses.
        """
        depends_on, root = [info.key, settings.key, POOLING_VERSION, SINK_RATIO], place(root)
        folder = root / hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]
        if (folder / _DESCRIPTION).is_file():
            if not _described(folder).current:
                raise _other_rules(folder)
        elif not make:
            what = "activations of this model and these settings are missing"
            raise ActivationStoreError(what, label=str(root), remedy=_CAPTURE)
        elif old := [each for each in _stores_below(root) if _is_old(each)]:
            names = ", ".join(each.name for each in old)
            what = f"{root} holds activations of an earlier version of amygdala-tl ({names})"
            warnings.warn(f"{what}: they are computed again, and you can delete these folders", stacklevel=2)
        return cls(folder, info, settings)

    @classmethod
    def find(cls, where: str | Place) -> "ActivationStore":
        """Open the store in a folder, or the only one below it; stores of an earlier version do not count.

        Raises:
            ActivationStoreError: there is no store, there are several, or the store cannot be read.
            InputError, StorageError: `where` is a URL, and its file system is not installed or refuses.
        """
        path = place(where)
        found = [path] if (path / _DESCRIPTION).is_file() else _stores_below(path)
        if not found:
            raise ActivationStoreError("no activations here", label=str(path), remedy=_CAPTURE)
        if not (current := [folder for folder in found if not _is_old(folder)]):
            raise _other_rules(found[0])
        if len(current) > 1:
            message, got = "activations of several models or settings are here", ", ".join(p.name for p in current)
            raise ActivationStoreError(message, label=str(path), got=got, remedy="name one of these folders")
        described = _described(current[0])
        return cls(current[0], described.model, described.settings)

    def describe(self) -> None:
        """Make the folder, and write what it holds, if it is not there yet.

        Raises:
            StorageError: the disk refuses.
        """
        for each in (self.folder.parent, self.folder):
            make_place(each)
        if not (self.folder / _DESCRIPTION).is_file():
            rules = {"pooling_version": POOLING_VERSION, "sink_ratio": SINK_RATIO}
            said = {"model": asdict(self.info), "settings": asdict(self.settings), **rules}
            write(self.folder / _DESCRIPTION, f"{json.dumps(said, indent=2)}\n".encode(), _STORE)

    def refresh(self, *, indexed: bool = True) -> None:
        """Read again which texts and layers are in the folder, from the `indexed` shards' index or else from their headers.

        Raises:
            ActivationStoreError: a shard cannot be read.
        """
        self.left_out: dict[str, str] = {}
        for path in matching(self.folder, "left-out-*.json"):
            self.left_out |= read_json(path, dict[str, str])
        found = sizes(self.folder, "shard-*.safetensors")
        known = read_index(self.folder) if indexed and found else {}
        listed = {name: shard for name, (size, shard) in known.items() if found.get(name) == size}
        self._shards = [listed.get(name) or self._open(self.folder / name) for name in found]
        self._held: dict[str, tuple[int, ...]] | None = None
        if len(listed) < len(found) or len(known) > len(found):
            write_index(self.folder, zip(found.values(), self._shards, strict=True))

    def _holders(self) -> dict[str, tuple[int, ...]]:
        """Map each text to the numbers of the shards that hold it."""
        if self._held is None:
            self._held = held = dict[str, tuple[int, ...]]()
            for number, shard in enumerate(self._shards):
                here = (number,)
                for text in shard.rows:
                    held[text] = here if text not in held else held[text] + here
        return self._held

    def _of(self, ids: Collection[str]) -> list[int]:
        """Return the numbers of the shards that hold any of the texts, after comparing their headers with the index."""
        held = self._holders()
        numbers = sorted({number for text in ids for number in held.get(text, ())})
        for number in numbers:
            said = self._shards[number]
            if said.header is None:
                true = self._open(said.path)
                if (true.rows, true.layers, true.per_text) != (said.rows, said.layers, said.per_text):
                    self.refresh(indexed=False)
                    return self._of(ids)
                self._shards[number] = true
        return numbers

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Keep other captures out of this store, after they have finished; they would run the same texts.

        An object store has no locks. There, two captures may run the same texts, which then count once.

        Raises:
            StorageError: the disk refuses.
        """
        self.describe()
        if isinstance(self.folder, Remote):
            self.refresh()
            yield
            self.refresh()
            return
        lock = filelock.FileLock(self.folder / _LOCK)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            warnings.warn(f"another capture is adding to {self.folder}: waiting until it has finished", stacklevel=4)
            lock.acquire()
        except OSError as cause:
            got, remedy = cause.strerror, "check that you may write there, or choose another place"
            raise StorageError("the store cannot be locked", label=str(self.folder), got=got, remedy=remedy) from cause
        try:
            self.refresh()
            yield
            self.refresh()  # writes the index
        finally:
            lock.release()

    def layers_of(self, ids: Collection[str]) -> tuple[int, ...]:
        """Return the layers at which all of `ids` have been captured, ascending."""
        held = self._holders()
        together = {held.get(text, ()) for text in set(ids) - self.left_out.keys()}
        captured = [{layer for number in numbers for layer in self._shards[number].layers} for numbers in together]
        return tuple(sorted(set.intersection(*captured) if captured else {x for s in self._shards for x in s.layers}))

    def missing(self, ids: Collection[str], layers: Sequence[int]) -> dict[tuple[int, ...], list[str]]:
        """Map each set of missing layers to the ids of the texts that lack exactly these."""
        held, wanted = self._holders(), defaultdict[tuple[int, ...], list[str]](list)
        lacking: dict[tuple[int, ...], tuple[int, ...]] = {}  # by shards: few, for many texts
        for text in dict.fromkeys(ids):
            if text not in self.left_out:
                numbers = held.get(text, ())
                if numbers not in lacking:
                    have = {layer for number in numbers for layer in self._shards[number].layers}
                    lacking[numbers] = tuple(layer for layer in layers if layer not in have)
                if lacking[numbers]:
                    wanted[lacking[numbers]].append(text)
        return dict(wanted)

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Remember texts that the model cannot run: id -> why.

        Raises:
            StorageError: the disk refuses.
        """
        if new := {text: why for text, why in sorted(reasons.items()) if text not in self.left_out}:
            written = json.dumps(new, indent=1) + "\n"
            name = hashlib.sha256(written.encode()).hexdigest()[:24]
            self.describe()
            write(self.folder / f"left-out-{name}.json", written.encode(), _LEFT_OUT)
            self.left_out |= new

    def add(self, ids: Sequence[str], layers: Sequence[int], pooled: Pooled, per_text: float) -> None:
        """Write one shard of texts that were to give `per_text` tokens each (see `tokens_per_text`).

        The order of the texts leaves no trace, so that the same texts with the same activations are the same file.

        Raises:
            StorageError: the disk refuses.
        """
        self.describe()
        order = sorted(range(len(ids)), key=ids.__getitem__)
        texts, kept = [ids[row] for row in order], pooled.ordered(order)
        self._shards.append(self._open(write_shard(self.folder, texts, layers, kept, per_text, self.settings)))
        self._held = None

    def load(
        self, ids: Sequence[str], layers: Sequence[int], position: ReadPosition
    ) -> Float[Tensor, "text layer d_model"]:
        """Load the activations of the texts at the layers, in the given order.

        Raises:
            ActivationStoreError: the store lacks some of them, or does not keep this read position.
        """
        if position not in self.settings.positions:
            got, need = ", ".join(self.settings.positions), position
            what, remedy = "the store keeps another read position", "capture again with this one"
            raise ActivationStoreError(what, label=str(self.folder), got=got, need=need, remedy=remedy)
        return self._collect(ids, layers, position, (self.info.d_model,))

    def load_spread(self, ids: Sequence[str], layers: Sequence[int]) -> Float[Tensor, "text layer component d_model"]:
        """Load the leading directions of each text's tokens, float32 (bfloat16 on disk), see `token_spread`.

        Raises:
            ActivationStoreError: the store lacks some of them, or was captured without them.
        """
        components = self.settings.token_components
        if not components:
            message, remedy = (
                "the directions of single texts' tokens were not captured",
                "capture with `token_components=4`",
            )
            raise ActivationStoreError(message, label=str(self.folder), remedy=remedy)
        return self._collect(ids, layers, SPREAD, (components, self.info.d_model))

    def load_counts(self, ids: Sequence[str], layers: Sequence[int]) -> Int[Tensor, "text layer"] | None:
        """Load the number of readable tokens of each text at each layer; None if a shard of an earlier version holds one of them.

        Raises:
            ActivationStoreError: the store lacks some of them.
        """
        if any(self._shards[number].per_text is None for number in self._of(ids)):
            return None
        return self._collect(ids, layers, "token_counts", ()).nan_to_num(0.0).int()  # NaN for texts that were left out

    def _collect(self, ids: Sequence[str], layers: Sequence[int], name: str, shape: tuple[int, ...]) -> Tensor:
        """Collect the rows of the tensor `name` from all shards: [text, layer, *shape]."""
        if self.missing(ids, layers) and any(shard.header is None for shard in self._shards):
            self.refresh(indexed=False)
        numbers = self._of(ids)
        if missing := self.missing(ids, layers):
            got = f"{sum(map(len, missing.values()))} of {len(ids)} texts not captured at all layers"
            raise ActivationStoreError("activations are missing", label=str(self.folder), got=got, remedy=_CAPTURE)
        rows = {text: row for row, text in enumerate(ids)}
        result = torch.empty(len(ids), len(layers), *shape, dtype=torch.float32)
        if len(rows) < len(ids) or not self.left_out.keys().isdisjoint(rows):
            result.fill_(torch.nan)  # where texts were left out
        for shard in (self._shards[number] for number in numbers):
            common = [text for text in shard.rows if text in rows]
            columns = {column: shard.layers[layer] for column, layer in enumerate(layers) if layer in shard.layers}
            if columns:
                taken, target = ([where[text] for text in common] for where in (shard.rows, rows))
                first, lowest = min(taken), min(columns.values())
                values = shard.read(name, (slice(first, max(taken) + 1), slice(lowest, max(columns.values()) + 1)))
                places, in_order = torch.tensor(taken) - first, target == list(range(target[0], target[-1] + 1))
                for column, found in columns.items():
                    here = values[:, found - lowest].float()
                    if in_order:  # as in `batches`: one copy less
                        torch.index_select(here, 0, places, out=result[target[0] : target[-1] + 1, column])
                    else:
                        result[target, column] = here[places]
        return result

    def batches(
        self, ids: Sequence[str], layers: Sequence[int], position: ReadPosition, *, size: int = 1024
    ) -> Iterator[tuple[list[int], Float[Tensor, "text layer d_model"]]]:
        """Yield the activations in parts of at most `size` texts, each after its rows in `ids`, in the order of the shards.

        A pass over a store of any size thus holds one part and one shard in memory.

        Raises:
            ActivationStoreError: the store lacks some texts.
        """
        held, last = self._holders(), len(self._shards)  # missing texts come last, where `load` reports them

        def at(row: int) -> tuple[int, int]:
            number = held.get(ids[row], (last,))[-1]
            return number, self._shards[number].rows[ids[row]] if number < last else 0

        rows = sorted(range(len(ids)), key=at)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield part, self.load([ids[row] for row in part], layers, position)

    def tokens(self, ids: Collection[str], layers: Sequence[int]) -> Iterator[TokenPart]:
        """Yield the sampled tokens of the texts, shard by shard and layer by layer, see `token_sample`.

        A text counts once, even in a folder into which two stores were copied. The sums in a shard of an earlier version do not
        separate its texts, so all of them count, or none where another shard has counted one. In such a store, points with the
        same mean and covariance stand for the tokens.

        Raises:
            ActivationStoreError: a layer has no readable token, or a shard is damaged.
        """
        wanted, n_tokens = {text: number for number, text in enumerate(dict.fromkeys(ids))}, [0] * len(layers)
        samples: dict[float, int] = {}  # tokens a text, which decide what is drawn from it
        counted: list[set[str]] = [set() for _ in layers]
        sums: dict[int, TokenSums] = {}
        for shard in (self._shards[number] for number in self._of(wanted)):
            common = wanted.keys() & shard.rows.keys()
            for column, layer in enumerate(layers):
                if layer not in shard.layers:
                    continue
                if shard.per_text is not None:
                    sample = samples.setdefault(shard.per_text, len(samples))
                    new = {text: wanted[text] for text in common - counted[column]}
                    count, weights, tokens, names = sampled_tokens(shard, layer, new)
                    part = TokenPart(column, count, weights, tokens, (sample << 56) + names)
                    counted[column] |= common
                    n_tokens[column] += len(part.tokens)
                    yield part
                elif counted[column].isdisjoint(shard.rows):
                    sums.setdefault(column, TokenSums(self.info.d_model)).add(shard, layer)
                    counted[column] |= shard.rows.keys()
        for column, total in sums.items():
            if total.count:
                n_tokens[column] += 1
                yield TokenPart(column, *total.tokens())
        if not all(n_tokens):
            remedy = "capture texts of more than one token"
            raise ActivationStoreError("no token to calibrate on", label=str(self.folder), remedy=remedy)

    def _open(self, path: Place) -> Shard:
        return open_shard(path, self.settings, self.info.d_model)


def _stores_below(path: Place) -> list[Place]:
    return [file.parent for file in matching(path, f"*/{_DESCRIPTION}")]


def _described(folder: Place) -> _Description:
    return read_json(folder / _DESCRIPTION, _Description)


def _is_old(folder: Place) -> bool:
    try:
        return not _described(folder).current
    except ActivationStoreError:  # damage is reported when this store is opened
        return False


def _other_rules(folder: Place) -> ActivationStoreError:
    said, remedy = _described(folder), "capture again; you can delete the folder"
    got, need = (f"rules {version} with sinks above {ratio:g}" for version, ratio in (
        (said.pooling_version, said.sink_ratio), (POOLING_VERSION, SINK_RATIO)))  # fmt: skip
    what = "the activations were pooled by the rules of another version"
    return ActivationStoreError(what, label=str(folder), got=got, need=need, remedy=remedy)
