"""Blocks of measurement: records of everything that their numbers depend on, each with a hash over all its fields.

A new field enters the hash by itself, so a journal never gives back a number that was measured under another setting.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.directions.erasure import Erasure
from amygdala_tl.steering.arms import ArmKind, Readers
from amygdala_tl.steering.prompts import Tokens
from amygdala_tl.steering.settings import EraseMethod
from amygdala_tl.steering.words import ConceptWords


@dataclass(frozen=True, slots=True)
class Block:
    """Base of all blocks.

    Attributes:
        model: `ModelInfo.key`.
    """

    model: tuple[str, ...]

    @property
    def key(self) -> str:
        """Hash of the kind of block and all its fields."""
        return key_of(self)

    @property
    def about(self) -> Mapping[str, Any]:
        """What a reader of the journal sees: the kind of block, and its plain fields."""
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name in _SHOWN}
        return {"block": type(self).__name__, **plain}


@dataclass(frozen=True, slots=True)
class NormBlock(Block):
    """Mean norms of resid_post at some layers over plain texts.

    Attributes:
        layers: indices from 0.
        texts: token ids.
    """

    layers: tuple[int, ...]
    texts: Tokens


@dataclass(frozen=True, slots=True)
class AdditionBlock(Block):
    """Directions added at one layer in one amount, and what that moves.

    Attributes:
        layer: where.
        dose: what the amount is in units of the mean norm.
        amount: in units of the stream.
        kinds: one a direction.
        directions: what is added, one after the other.
        prompts: token ids; the words are read after them.
        plain: token ids of texts whose damage is measured; empty if it is not.
        words: that are counted.
        readers: readouts of a later layer, or None.
    """

    layer: int
    dose: float
    amount: float
    kinds: tuple[ArmKind, ...]
    directions: Float[Tensor, "direction d_model"]
    prompts: Tokens
    plain: Tokens
    words: ConceptWords
    readers: Readers | None


@dataclass(frozen=True, slots=True)
class AblationBlock(Block):
    """A concept, or a control, taken out of texts that carry the concept, at several layers at once.

    Attributes:
        layers: where.
        concept: number of the concept.
        method: how.
        erasures: one a layer; on its rows the concept's own map first, then the controls'.
        prompts: token ids of texts that carry the concept.
        plain: token ids of texts whose damage is measured, by the concept's own map and by a few controls.
        words: that are counted.
        readers: readouts of a layer above all others, or None.
    """

    layers: tuple[int, ...]
    concept: int
    method: EraseMethod
    erasures: tuple[Erasure, ...]
    prompts: Tokens
    plain: Tokens
    words: ConceptWords
    readers: Readers | None


@dataclass(frozen=True, slots=True)
class ProbeBlock(Block):
    """Probes fitted anew on texts that ran with a concept, or a control, taken out.

    Attributes:
        layers: where it is taken out; nowhere if empty.
        read: layers that probes read.
        concepts: numbers of the concepts that are read.
        method: how it is taken out.
        erasures: for each half of the texts, one map a layer.
        texts: ids.
        positive, negative: [text, concept] labels.
        groups, half: [text] what no fold cuts, and 0 or 1.
    """

    layers: tuple[int, ...]
    read: tuple[int, ...]
    concepts: tuple[int, ...]
    method: EraseMethod
    erasures: tuple[tuple[Erasure, ...], ...]
    texts: tuple[str, ...]
    positive: Bool[Tensor, "text concept"]
    negative: Bool[Tensor, "text concept"]
    groups: Int[Tensor, " text"]
    half: Int[Tensor, " text"]


@dataclass(frozen=True, slots=True)
class SampleBlock(Block):
    """Generations with a direction added in several amounts, from the same noise.

    Attributes:
        concept: name of what is added.
        layer: where.
        direction: unit vector.
        doses: 0 is the model as it is.
        norm: unit of dose.
        prompts: token ids.
        samples: how many for each prompt and dose.
        seed: of the first sample's noise; the next sample has the next seed.
        new_tokens: length of each.
        temperature: of sampling.
        end: token at which a text ends, or None.
    """

    concept: str
    layer: int
    direction: Float[Tensor, " d_model"]
    doses: tuple[float, ...]
    norm: float
    prompts: Tokens
    samples: int
    seed: int
    new_tokens: int
    temperature: float
    end: int | None


_SHOWN = frozenset({"layer", "layers", "dose", "concept", "kinds", "method", "samples", "seed"})


def key_of(*parts: object) -> str:
    """sha256, 32 hex digits, of tensors (dtype, shape, values), records (name, fields), tuples of them and JSON values."""
    digest = hashlib.sha256()
    for part in parts:
        _update(digest, part)
    return digest.hexdigest()[:32]


def _update(digest: Any, part: object) -> None:
    if isinstance(part, Tensor):
        digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
        digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    elif is_dataclass(part):
        digest.update(type(part).__name__.encode())
        for each in fields(part):
            digest.update(f"\0{each.name}=".encode())
            _update(digest, getattr(part, each.name))
    elif isinstance(part, tuple) and _has_records(part):
        for each in part:
            _update(digest, each)
    else:
        digest.update(json.dumps(part, sort_keys=True).encode())
    digest.update(b"\0")


def _has_records(part: object) -> bool:
    return is_dataclass(part) or (isinstance(part, tuple) and any(map(_has_records, part)))
