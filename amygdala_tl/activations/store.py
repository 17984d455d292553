"""The activation store: a folder of content-addressed shards, so that nothing is computed twice.

    <root>/<key>/store.json                   the model and the capture settings
    <root>/<key>/shard-<hash>.safetensors     some texts at some layers
    <root>/<key>/golden-<hash>.safetensors    what the model gave for the golden texts
    <root>/<key>/left-out-<hash>.json         texts that the model cannot run, with reasons

`key` hashes everything besides text and layer that an activation depends on: weights, configuration, tokenizer, rendered chat
template, engine, dtype, settings, pooling rules. A shard holds, for its texts and layers, `pooled`, `last`, `last-content`
[text, layer, d_model] float32, a sample of their tokens (see `token_sample`) and, on request, the leading directions of each
text's tokens. Shards of earlier versions hold sums over tokens in place of the sample. A shard is written under another name and
then renamed, so it is there whole or not at all.
"""

import hashlib
import json
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import filelock
import msgspec
import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.hashed_files import read_json
from amygdala_tl.activations.pooling import SINK_RATIO, Pooled
from amygdala_tl.activations.shards import SPREAD, Shard, TokenSums, open_shard, sampled_tokens, write_shard
from amygdala_tl.errors import ActivationStoreError, StorageError
from amygdala_tl.files import Kind, atomic_write_text, make_folder
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

    def __init__(self, folder: Path, info: ModelInfo, settings: CaptureSettings) -> None:
        self.folder, self.info, self.settings = folder, info, settings
        self.refresh()

    @classmethod
    def for_model(
        cls, root: Path, info: ModelInfo, settings: CaptureSettings, *, make: bool = True
    ) -> "ActivationStore":
        """Open the store below `root` for this model and these settings; `make` it when something is added.

        Raises:
            ActivationStoreError: a shard cannot be read, the store has other rules, or it is missing and must not be made.
        """
        depends_on = [info.key, asdict(settings), POOLING_VERSION, SINK_RATIO]
        folder = Path(root) / hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]
        if (folder / _DESCRIPTION).is_file():
            if not _described(folder).current:
                raise _other_rules(folder)
        elif not make:
            what = "activations of this model and these settings are missing"
            raise ActivationStoreError(what, label=str(root), remedy=_CAPTURE)
        elif old := [each for each in _stores_below(Path(root)) if _is_old(each)]:
            names = ", ".join(each.name for each in old)
            what = f"{root} holds activations of an earlier version of amygdala-tl ({names})"
            warnings.warn(f"{what}: they are computed again, and you can delete these folders", stacklevel=2)
        return cls(folder, info, settings)

    @classmethod
    def find(cls, path: Path) -> "ActivationStore":
        """Open the store at `path`, or the only one below it; stores of an earlier version do not count.

        Raises:
            ActivationStoreError: there is no store, there are several, or the store cannot be read.
        """
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
            make_folder(each, private=True)
        if not (self.folder / _DESCRIPTION).exists():
            rules = {"pooling_version": POOLING_VERSION, "sink_ratio": SINK_RATIO}
            said = {"model": asdict(self.info), "settings": asdict(self.settings), **rules}
            atomic_write_text(self.folder / _DESCRIPTION, json.dumps(said, indent=2) + "\n", _STORE)

    def refresh(self) -> None:
        """Read again which texts and layers are in the folder.

        Raises:
            ActivationStoreError: a shard cannot be read.
        """
        self.left_out: dict[str, str] = {}
        for path in sorted(self.folder.glob("left-out-*.json")):
            self.left_out |= read_json(path, dict[str, str])
        self._shards = [self._open(path) for path in sorted(self.folder.glob("shard-*.safetensors"))]

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Keep other captures out of this store, after they have finished: two at once would count texts twice.

        Raises:
            StorageError: the disk refuses.
        """
        self.describe()
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
        finally:
            lock.release()

    def layers_of(self, ids: Collection[str]) -> tuple[int, ...]:
        """Return the layers at which all of `ids` have been captured, ascending."""
        captured: defaultdict[int, set[str]] = defaultdict(set)
        for shard in self._shards:
            for layer in shard.layers:
                captured[layer].update(shard.rows)
        needed = set(ids) - self.left_out.keys()
        return tuple(sorted(layer for layer, texts in captured.items() if texts.issuperset(needed)))

    def missing(self, ids: Collection[str], layers: Sequence[int]) -> dict[tuple[int, ...], list[str]]:
        """Map each set of missing layers to the ids of the texts that lack exactly these."""
        have: dict[str, set[int]] = {text: set() for text in ids if text not in self.left_out}
        for shard in self._shards:
            for text in have.keys() & shard.rows.keys():
                have[text].update(shard.layers)
        wanted: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
        for text in have:
            if lacking := tuple(layer for layer in layers if layer not in have[text]):
                wanted[lacking].append(text)
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
            atomic_write_text(self.folder / f"left-out-{name}.json", written, _LEFT_OUT)
            self.left_out |= new

    def add(self, ids: Sequence[str], layers: Sequence[int], pooled: Pooled, per_text: float) -> None:
        """Write one shard of texts that were to give `per_text` tokens each (see `tokens_per_text`).

        Raises:
            StorageError: the disk refuses.
        """
        self.describe()
        self._shards.append(self._open(write_shard(self.folder, ids, layers, pooled, per_text)))

    def load(
        self, ids: Sequence[str], layers: Sequence[int], position: ReadPosition
    ) -> Float[Tensor, "text layer d_model"]:
        """Load the activations of the texts at the layers, in the given order.

        Raises:
            ActivationStoreError: the store lacks some of them.
        """
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

    def _collect(self, ids: Sequence[str], layers: Sequence[int], name: str, shape: tuple[int, ...]) -> Tensor:
        """Collect the rows of the tensor `name` from all shards: [text, layer, *shape]."""
        if missing := self.missing(ids, layers):
            got = f"{sum(map(len, missing.values()))} of {len(ids)} texts not captured at all layers"
            raise ActivationStoreError("activations are missing", label=str(self.folder), got=got, remedy=_CAPTURE)
        rows = {text: row for row, text in enumerate(ids)}
        result = torch.full((len(ids), len(layers), *shape), torch.nan)
        for shard in self._shards:
            common = [text for text in shard.rows if text in rows]
            columns = [column for column, layer in enumerate(layers) if layer in shard.layers]
            if common and columns:
                values = shard.read(name)
                taken, target = ([where[text] for text in common] for where in (shard.rows, rows))
                for column in columns:
                    result[target, column] = values[taken, shard.layers[layers[column]]].float()
        return result

    def batches(
        self, ids: Sequence[str], layers: Sequence[int], position: ReadPosition, *, size: int = 1024
    ) -> Iterator[tuple[list[int], Float[Tensor, "text layer d_model"]]]:
        """Yield the activations in parts of at most `size` texts, each after its rows in `ids`, in the order of the shards.

        A pass over a store of any size thus holds one part and one shard in memory.

        Raises:
            ActivationStoreError: the store lacks some texts.
        """
        place = {text: (number, row) for number, shard in enumerate(self._shards) for text, row in shard.rows.items()}
        last = (len(self._shards), 0)  # missing texts come last, where `load` reports them
        rows = sorted(range(len(ids)), key=lambda row: place.get(ids[row], last))
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
        wanted, n_tokens = set(ids), [0] * len(layers)
        counted: list[set[str]] = [set() for _ in layers]
        sums: dict[int, TokenSums] = {}
        for shard in self._shards:
            common = wanted & shard.rows.keys()
            for column, layer in enumerate(layers):
                if not common or layer not in shard.layers:
                    continue
                if shard.per_text is not None:
                    part = TokenPart(column, *sampled_tokens(shard, layer, common - counted[column]))
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

    def _open(self, path: Path) -> Shard:
        return open_shard(path, self.settings, self.info.d_model)


def _stores_below(path: Path) -> list[Path]:
    return sorted(file.parent for file in path.glob(f"*/{_DESCRIPTION}"))


def _described(folder: Path) -> _Description:
    return read_json(folder / _DESCRIPTION, _Description)


def _is_old(folder: Path) -> bool:
    try:
        return not _described(folder).current
    except ActivationStoreError:  # damage is reported when this store is opened
        return False


def _other_rules(folder: Path) -> ActivationStoreError:
    said, remedy = _described(folder), "capture again; you can delete the folder"
    got, need = (f"rules {version} with sinks above {ratio:g}" for version, ratio in (
        (said.pooling_version, said.sink_ratio), (POOLING_VERSION, SINK_RATIO)))  # fmt: skip
    what = "the activations were pooled by the rules of another version"
    return ActivationStoreError(what, label=str(folder), got=got, need=need, remedy=remedy)
