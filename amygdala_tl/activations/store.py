"""The activation store: a folder of content-addressed shards, so that nothing is computed twice.

    <root>/<key>/store.json                 the model and the capture settings
    <root>/<key>/shard-<hash>.safetensors   some texts at some layers
    <root>/<key>/left-out-<hash>.json       texts that the model cannot run, with reasons

`key` hashes everything besides text and layer that an activation depends on: weights, engine, dtype, settings, pooling rules.
A shard holds, for its texts and layers, `pooled`, `last`, `last-content` [text, layer, d_model] float32, the sums over their
readable tokens and, on request, the leading directions of each text's tokens. A shard is written under another name and
then renamed, so it is there whole or not at all.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from amygdala_tl.activations.pooling import SINK_RATIO
from amygdala_tl.decode import Into, decode
from amygdala_tl.errors import ActivationStoreError
from amygdala_tl.files import Kind, atomic_write_bytes, atomic_write_text, make_folder
from amygdala_tl.kinds import json_with, safetensors_with, text_with
from amygdala_tl.records import READ_POSITIONS, CaptureSettings, ModelInfo, ReadPosition, TokenMoments

_DESCRIPTION = "store.json"
_SPREAD = "token_spread"
_CAPTURE = "run `amygdala-tl capture` first"
_REMEDY = "delete it; its activations will be computed again"
T = TypeVar("T")

_STORE = Kind("the description of a store", json_with("model", "settings"))
_LEFT_OUT = Kind("the texts that a model cannot run", text_with(r'\A\{\n "[^"]+": "'))
_SHARD = Kind("a shard of activations", safetensors_with(".*", "ids", "layers"))

POOLING_VERSION = 2
"""Increased when the same text under the same settings gives another activation than before."""


@dataclass(frozen=True, slots=True)
class ShardTensors:
    """The content of one shard.

    Attributes:
        positions: read position -> [text, layer, d_model] float32.
        token_count: [layer] readable tokens of the shard's texts.
        token_sum: [layer, d_model] their sum.
        token_product: [layer, d_model, d_model] sum of their outer products.
        token_spread: [text, layer, component, d_model] (see `token_spread`), None without `token_components`.
    """

    positions: Mapping[ReadPosition, Float[Tensor, "text layer d_model"]]
    token_count: Tensor
    token_sum: Tensor
    token_product: Tensor
    token_spread: Tensor | None = None


class _Description(msgspec.Struct):
    model: ModelInfo
    settings: CaptureSettings


@dataclass(frozen=True, slots=True)
class _Shard:
    path: Path
    rows: Mapping[str, int]
    layers: Mapping[int, int]


class ActivationStore:
    """Activations of one model (`info`) under one set of capture settings, in the shards of a folder.

    `left_out` says of each text that the model cannot run why. Such texts are never missing, and their activations are NaN.
    """

    def __init__(self, folder: Path, info: ModelInfo, settings: CaptureSettings) -> None:
        self.folder, self.info, self.settings = folder, info, settings
        self.left_out: dict[str, str] = {}
        for path in sorted(folder.glob("left-out-*.json")):
            self.left_out |= _read(path, dict[str, str])
        self._shards = [self._open(path) for path in sorted(folder.glob("shard-*.safetensors"))]

    @classmethod
    def for_model(
        cls, root: Path, info: ModelInfo, settings: CaptureSettings, *, make: bool = True
    ) -> "ActivationStore":
        """Open the store below `root` for this model and these settings; `make` it if necessary.

        Raises:
            ActivationStoreError: a shard cannot be read, or the store is missing and must not be made.
            StorageError: the disk refuses the folder.
        """
        rules = {"settings": asdict(settings), "pooling_version": POOLING_VERSION, "sink_ratio": SINK_RATIO}
        depends_on = {"fingerprint": info.fingerprint, "engine": info.engine, "dtype": info.dtype, **rules}
        key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]
        folder = Path(root) / key
        if not make and not (folder / _DESCRIPTION).is_file():
            raise ActivationStoreError(
                "activations of this model and these settings are missing", label=str(root), remedy=_CAPTURE
            )
        for each in (folder.parent, folder):
            make_folder(each, private=True)
        if not (folder / _DESCRIPTION).exists():
            description = json.dumps({"model": asdict(info), **depends_on}, indent=2)
            atomic_write_text(folder / _DESCRIPTION, description + "\n", _STORE)
        return cls(folder, info, settings)

    @classmethod
    def find(cls, path: Path) -> "ActivationStore":
        """Open the store at `path`, or the only one below it.

        Raises:
            ActivationStoreError: there is no store, there are several, or the store cannot be read.
        """
        found = [path] if (path / _DESCRIPTION).is_file() else sorted(p.parent for p in path.glob(f"*/{_DESCRIPTION}"))
        if not found:
            raise ActivationStoreError("no activations here", label=str(path), remedy=_CAPTURE)
        if len(found) > 1:
            message, got = "activations of several models or settings are here", ", ".join(p.name for p in found)
            raise ActivationStoreError(message, label=str(path), got=got, remedy="name one of these folders")
        described = _read(found[0] / _DESCRIPTION, _Description)
        return cls(found[0], described.model, described.settings)

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
            atomic_write_text(self.folder / f"left-out-{name}.json", written, _LEFT_OUT)
            self.left_out |= new

    def add(self, ids: Sequence[str], layers: Sequence[int], tensors: ShardTensors) -> None:
        """Write one shard.

        Raises:
            StorageError: the disk refuses.
        """
        name = hashlib.sha256(json.dumps([sorted(ids), sorted(layers)]).encode()).hexdigest()[:24]
        data: dict[str, Tensor] = {position: value.contiguous() for position, value in tensors.positions.items()}
        data |= {"token_count": tensors.token_count, "token_sum": tensors.token_sum.float()}
        data["token_product"] = tensors.token_product.float()
        if tensors.token_spread is not None:
            data[_SPREAD] = tensors.token_spread.to(torch.bfloat16)
        path = self.folder / f"shard-{name}.safetensors"
        header = {"ids": json.dumps(list(ids)), "layers": json.dumps(list(layers))}
        atomic_write_bytes(path, save(data, metadata=header), _SHARD)
        self._shards.append(self._open(path))

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
        return self._collect(ids, layers, _SPREAD, (components, self.info.d_model))

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
                values = self._tensor(shard, name)
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

    def token_moments(self, ids: Collection[str], layers: Sequence[int]) -> TokenMoments:
        """Compute the moments of single-token activations over the shards that hold any of `ids`.

        A shard's sums do not separate its texts, so a text that has since left the corpus still counts.

        Raises:
            ActivationStoreError: a layer has no readable token.
        """
        n_layers, d_model, wanted = len(layers), self.info.d_model, set(ids)
        count = torch.zeros(n_layers, dtype=torch.float64)
        mean = torch.zeros(n_layers, d_model, dtype=torch.float64)
        second = torch.zeros(n_layers, d_model, d_model, dtype=torch.float64)
        for shard in self._shards:
            for column, layer in enumerate(layers):
                if layer in shard.layers and not wanted.isdisjoint(shard.rows):
                    for name, total in (("count", count), ("sum", mean), ("product", second)):
                        total[column] += self._tensor(shard, f"token_{name}")[shard.layers[layer]]
        if not bool((count > 0).all()):
            remedy = "capture texts of more than one token"
            raise ActivationStoreError("no token to calibrate on", label=str(self.folder), remedy=remedy)
        mean /= count[:, None]
        second /= count[:, None, None]
        return TokenMoments(count=count.long(), mean=mean.float(), second=second.float())

    def _open(self, path: Path) -> _Shard:
        with _opened(path) as file:
            header = file.metadata() or {}
            missing = sorted(set(READ_POSITIONS) - set(file.keys()))
        if missing:
            raise _damaged(path, f"no tensor {missing[0]}")
        rows = {text: row for row, text in enumerate(_listed(path, header, "ids", list[str]))}
        layers = {layer: column for column, layer in enumerate(_listed(path, header, "layers", list[int]))}
        return _Shard(path, rows, layers)

    def _tensor(self, shard: _Shard, name: str) -> Tensor:
        with _opened(shard.path) as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as cause:
        raise _damaged(path, cause) from cause


def _read(path: Path, into: Into[T]) -> T:
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise _damaged(path, cause) from cause
    return decode(data, into, label=str(path), remedy=_REMEDY, error=ActivationStoreError)


def _listed(path: Path, header: Mapping[str, str], name: str, into: Into[T]) -> T:
    label = f"{path}, `{name}` in its header"
    return decode(header.get(name, ""), into, label=label, remedy=_REMEDY, error=ActivationStoreError)


def _damaged(path: Path, got: object) -> ActivationStoreError:
    return ActivationStoreError("is damaged", label=str(path), got=got, remedy=_REMEDY)
