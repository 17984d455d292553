"""One shard of a store: some texts at some layers, in one safetensors file whose header is checked when it is opened."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.activations.half import from_half, to_half
from amygdala_tl.activations.hashed_files import Header, damaged, listed, read_header, read_tensor, write_hashed
from amygdala_tl.activations.places import Place
from amygdala_tl.activations.pooling import Pooled
from amygdala_tl.records import CaptureSettings

SPREAD = "token_spread"
_SUMS = "token_count", "token_sum", "token_product"
_EXPONENTS = ".exponents"


@dataclass(frozen=True, slots=True)
class Shard:
    """Where a shard is, and what is in it.

    Attributes:
        path: of the file.
        rows: id -> row of the text.
        layers: layer -> column.
        per_text: tokens that each of its texts was to give (see `tokens_per_text`); None for a shard of an earlier version, which
            keeps sums over all tokens of all its texts.
        header: of the file; None if this comes from an index, which may be wrong.
    """

    path: Place
    rows: Mapping[str, int]
    layers: Mapping[int, int]
    per_text: float | None
    header: Header | None = None

    def read(self, name: str, part: tuple[slice, ...] = ()) -> Tensor:
        """Read a part of a tensor, in float32 if it is in float16; raises `ActivationStoreError` for a damaged file."""
        header = self.header or read_header(self.path)
        values = read_tensor(self.path, name, header, part)
        if (exponents := name + _EXPONENTS) in header.tensors:
            return from_half(values, read_tensor(self.path, exponents, header, part))
        return values


def write_shard(
    folder: Place, ids: Sequence[str], layers: Sequence[int], pooled: Pooled, per_text: float, settings: CaptureSettings
) -> Place:
    """Write a shard and return its path.

    Raises:
        StorageError: the disk refuses.
    """
    data: dict[str, Tensor] = {}
    for name, value in (*pooled.positions.items(), ("token_sample", pooled.token_sample)):
        if settings.store_dtype == "float16":
            data[name], data[name + _EXPONENTS] = to_half(value)
        else:
            data[name] = value
    data |= {"token_counts": pooled.token_counts, "token_rows": pooled.token_rows}
    if pooled.token_spread is not None:
        data[SPREAD] = pooled.token_spread.to(torch.bfloat16)
    values = {"ids": list(ids), "layers": list(layers), "tokens_per_text": per_text}
    return write_hashed(folder, "shard", data, {name: json.dumps(value) for name, value in values.items()})


def open_shard(path: Place, settings: CaptureSettings, d_model: int) -> Shard:
    """Read the header of a shard.

    Raises:
        ActivationStoreError: it is damaged, or its tensors do not have the shapes that the settings demand.
    """
    header = read_header(path)
    ids, columns = listed(path, header.about, "ids", list[str]), listed(path, header.about, "layers", list[int])
    rows = {text: row for row, text in enumerate(ids)}
    layers = {layer: column for column, layer in enumerate(columns)}
    if (len(rows), len(layers)) != (len(ids), len(columns)):
        raise damaged(path, "a text or a layer that is named twice")
    per_text = listed(path, header.about, "tokens_per_text", float) if "tokens_per_text" in header.about else None
    shapes = {name: entry.shape for name, entry in header.tensors.items()}
    n_texts, n_layers = len(rows), len(layers)
    needed: dict[str, tuple[int, ...]] = dict.fromkeys(settings.positions, (n_texts, n_layers, d_model))
    if per_text is None:
        needed |= {name: (n_layers, d_model, d_model)[:axes] for axes, name in enumerate(_SUMS, start=1)}
    else:
        n_sampled = shapes.get("token_rows", (0,))[:1]
        needed |= {"token_counts": (n_texts, n_layers), "token_rows": n_sampled}
        needed["token_sample"] = (*n_sampled, n_layers, d_model)
    if settings.token_components:
        needed[SPREAD] = (n_texts, n_layers, settings.token_components, d_model)
    needed |= {name + _EXPONENTS: shape[:-1] for name, shape in needed.items() if name + _EXPONENTS in shapes}
    for name, shape in needed.items():
        if shapes.get(name) != shape:
            raise damaged(path, f"{name} of shape {shapes[name]}" if name in shapes else f"no tensor {name}")
    return Shard(path, rows, layers, per_text, Header({}, header.tensors, header.hashes))


def sampled_tokens(
    shard: Shard, layer: int, texts: Mapping[str, int]
) -> tuple[int, Float[Tensor, " token"], Float[Tensor, "token d_model"], Int[Tensor, " token"]]:
    """Return how many readable tokens some texts of a shard have at a layer, and their sampled tokens with weights and names.

    A weight says how many tokens a sampled token stands for. A token's name is made of its text's number and its place among
    the tokens that were drawn from this text, so it is the same in every shard of a corpus, whichever layers that holds.

    Args:
        shard: holds the texts.
        layer: index.
        texts: ids with a number for each.

    Raises:
        ActivationStoreError: the file is damaged.
    """
    column, number = shard.layers[layer], torch.full((len(shard.rows),), -1)
    number[[shard.rows[text] for text in texts]] = torch.tensor(list(texts.values()), dtype=torch.int64)
    chosen = number >= 0
    there = slice(None), slice(column, column + 1)
    counts, rows = shard.read("token_counts", there)[:, 0].double(), shard.read("token_rows").long()
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(shard.rows):
        raise damaged(shard.path, "a token of a text that the shard does not hold")
    tokens = shard.read("token_sample", there)[:, 0].float()
    order, drawn = rows.argsort(stable=True), torch.bincount(rows, minlength=len(counts))
    place = torch.empty_like(rows)
    place[order] = torch.arange(len(rows)) - (drawn.cumsum(dim=0) - drawn)[rows[order]]
    kept = chosen[rows] & ~tokens.isnan().any(dim=1)
    rows, tokens, place = rows[kept], tokens[kept], place[kept]
    given = torch.bincount(rows, minlength=len(counts))
    weights = counts[rows] / given[rows] / min(1.0, shard.per_text or 1.0)
    return int(counts[chosen].sum()), weights, tokens, (number[rows] << 24) + place


class TokenSums:
    """Sums over the tokens of shards of an earlier version, for one layer."""

    def __init__(self, d_model: int) -> None:
        self.count = 0.0
        self.sum = torch.zeros(d_model, dtype=torch.float64)
        self.product = torch.zeros(d_model, d_model, dtype=torch.float64)

    def add(self, shard: Shard, layer: int) -> None:
        """Add a shard; raises `ActivationStoreError` for a damaged file."""
        column = shard.layers[layer]
        self.count += float(shard.read("token_count")[column])
        self.sum += shard.read("token_sum")[column]
        self.product += shard.read("token_product")[column]

    def tokens(self) -> tuple[int, Float[Tensor, " token"], Float[Tensor, "token d_model"]]:
        """Return 2 d_model points with weights that have the tokens' count, mean and covariance, not their quantiles.

        Source: the sigma points of Julier & Uhlmann (1997).
        """
        mean, d_model = self.sum / self.count, len(self.sum)
        values, vectors = torch.linalg.eigh(self.product / self.count - torch.outer(mean, mean))
        shifts = (vectors * (d_model * values.clamp_min(0.0)).sqrt()).T
        points = torch.cat((mean + shifts, mean - shifts))
        return int(self.count), torch.full((2 * d_model,), self.count / (2 * d_model), dtype=torch.float64), points
