"""Golden texts: a few fixed texts, as the model's tokenizer and chat template make ids of them, and their residual streams.

A store keeps them beside its shards. They show whether a model that opens the store still computes what is in it: every cause of
other activations, known or not, changes the ids or the streams.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from amygdala_tl.activations.engine import PoolingEngine
from amygdala_tl.activations.hashed_files import damaged, listed, read_header, read_tensor, write_hashed
from amygdala_tl.activations.places import matching
from amygdala_tl.activations.runner import tokenize_for
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.errors import ActivationStoreError, ModelError
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.parity import TOLERANCES
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.lens.tokenize import Unreadable
from amygdala_tl.records import CaptureSettings

TEXTS = (
    "In 1987 Zoë's naïve café made 1,250.75 REAIS;  who'd seen IT?\n\tNobody.",
    " e\u0301te\u0301 — Где 雨 \u0633\u0644 नम 🙂 ﬁn ",
)
"""Texts on which tokenizers differ: accents composed and not, capitals, digits, white space, scripts, an emoji, a ligature."""


@dataclass(frozen=True, slots=True)
class GoldenStreams:
    """What a model gives for the golden texts.

    Attributes:
        texts: as the tokenizer got them.
        ids: see `golden_ids`.
        streams: layer -> resid_post [token, d_model] of all tokens of all texts in order, float32.
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    streams: Mapping[int, Float[Tensor, "token d_model"]]

    def at(self, layers: Sequence[int]) -> Float[Tensor, "token layer d_model"]:
        """Return the streams after these layers."""
        return torch.stack([self.streams[layer] for layer in layers], dim=1)


def golden_ids(
    loaded: Lens | PoolingEngine, settings: CaptureSettings, texts: Sequence[str] = TEXTS
) -> tuple[tuple[int, ...], ...]:
    """Return the token ids of the golden texts; none for a text that the tokenizer cannot take.

    Raises:
        ModelError: the tokenizer takes none of them.
    """
    tokenized = tokenize_for(loaded, texts, settings)
    ids = tuple(() if isinstance(text, Unreadable) else text.ids for text in tokenized)
    if not any(ids):
        got = next(text.reason for text in tokenized if isinstance(text, Unreadable))
        what, remedy = "the tokenizer can take none of the golden texts", "choose another model"
        raise ModelError(what, label=loaded.info.id, got=got, remedy=remedy)
    return ids


def run_golden(
    loaded: Lens | PoolingEngine, ids: Sequence[Sequence[int]], layers: Sequence[int]
) -> Float[Tensor, "token layer d_model"]:
    """Return the streams of all golden tokens in order, float32 on the CPU."""
    rows = [row for row in ids if row]
    if not isinstance(loaded, Lens):
        return loaded.streams(rows, layers)
    padded = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)  # on the right, where no token looks
    found = run_resid_post(loaded.model, padded, list(layers)).float().cpu()
    return torch.cat([stream[: len(row)] for stream, row in zip(found, rows, strict=True)])


def check_store(loaded: Lens | PoolingEngine, store: ActivationStore, layers: Sequence[int]) -> None:
    """Check that a model computes what a store holds, and keep what it gives for the golden texts at new layers.

    Raises:
        ActivationStoreError: the store holds activations of another computation, or a file of it is damaged.
        StorageError: the disk refuses.
    """
    kept = read_golden(store)
    texts = kept.texts if kept.streams else TEXTS
    ids, wanted = golden_ids(loaded, store.settings, texts), sorted({*kept.streams, *layers})
    wrong = {"label": str(store.folder), "remedy": "delete the folder; its activations will be computed again"}
    if kept.streams and kept.ids != ids:
        raise ActivationStoreError("the store was captured with another tokenizer or chat template", **wrong)
    found = dict(zip(wanted, run_golden(loaded, ids, wanted).unbind(dim=1), strict=True))
    allowed = TOLERANCES.get(loaded.info.dtype, TOLERANCES["bfloat16"])
    for layer, stream in kept.streams.items():
        relative = (found[layer] - stream).norm(dim=-1) / stream.norm(dim=-1)
        if not (apart := float(relative.median())) <= allowed:
            what = "the model no longer computes the activations in the store"
            got, need = f"{apart:.1e} of their norm apart at layer {layer}", f"{allowed:.0e} at most"
            raise ActivationStoreError(what, got=got, need=need, **wrong)
    if new := [layer for layer in wanted if layer not in kept.streams]:
        header = {name: json.dumps(value) for name, value in (("texts", texts), ("ids", ids), ("layers", new))}
        store.describe()
        write_hashed(store.folder, "golden", {"streams": torch.stack([found[layer] for layer in new], dim=1)}, header)


def read_golden(store: ActivationStore) -> GoldenStreams:
    """Read the golden texts of a store, with the streams of every layer that it holds; empty where it has none.

    Raises:
        ActivationStoreError: a file is damaged.
    """
    texts: tuple[str, ...] = ()
    ids: tuple[tuple[int, ...], ...] = ()
    streams: dict[int, Tensor] = {}
    for path in matching(store.folder, "golden-*.safetensors"):
        header = read_header(path)
        whole = read_tensor(path, "streams", header)
        texts = listed(path, header.about, "texts", tuple[str, ...])
        ids = listed(path, header.about, "ids", tuple[tuple[int, ...], ...])
        layers = listed(path, header.about, "layers", list[int])
        if whole.shape != (sum(map(len, ids)), len(layers), store.info.d_model):
            raise damaged(path, f"streams of shape {tuple(whole.shape)}")
        streams |= {layer: whole[:, at] for at, layer in enumerate(layers)}
    return GoldenStreams(texts, ids, streams)
