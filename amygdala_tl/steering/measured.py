"""What a check measures, before statistics: findings of a block as the journal keeps them, and a layer's as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.steering.arms import Arms, Readers
from amygdala_tl.steering.records import Refit
from amygdala_tl.steering.settings import EraseMethod

Rows = list[Any]
"""A tensor as nested lists of numbers with 6 digits; None for NaN."""


@dataclass(frozen=True, slots=True)
class FoundAdditions:
    """What adding each direction of a block moves.

    Attributes:
        words: [direction, prompt, concept] shift of the concepts' words, nats.
        reads: [direction, half, concept] shift of the later layer's readouts, as z; None without readers.
        kl, loss: [direction] damage in nats a token; None if it was not measured.
    """

    words: Rows
    reads: Rows | None = None
    kl: Rows | None = None
    loss: Rows | None = None


@dataclass(frozen=True, slots=True)
class FoundAblations:
    """What each map of a block moves.

    Attributes:
        words: [map, text] shift of the concept's words.
        reads: [map] shift of the concept's readouts, mean over halves and texts; None without readers.
        loss: [map] damage in nats a token, of the first few maps.
    """

    words: Rows
    reads: Rows | None = None
    loss: Rows | None = None


@dataclass(frozen=True, slots=True)
class FoundProbes:
    """What refitted probes read.

    Attributes:
        across, unseen: [concept, layer] AUROC on texts of other groups (see `probing`); NaN where a half lacks a class.
    """

    across: Rows
    unseen: Rows


@dataclass(frozen=True, slots=True)
class MeasuredLayer:
    """All doses of all arms at one layer.

    Attributes:
        arms: what was added.
        norm: mean residual norm, the unit of dose.
        words: [direction, dose, prompt, concept] shift of the concepts' words, nats.
        reads: [direction, dose, half, concept] shift of the later layer's readouts, as z; None without readers.
        kl, loss: [direction, dose] damage in nats a token, NaN for arms without measured damage.
        readers: the readouts behind `reads`.
    """

    arms: Arms
    norm: float
    words: Float[Tensor, "direction dose prompt concept"]
    reads: Float[Tensor, "direction dose half concept"] | None
    kl: Float[Tensor, "direction dose"]
    loss: Float[Tensor, "direction dose"]
    readers: Readers | None = None


@dataclass(frozen=True, slots=True)
class MeasuredAblation:
    """A concept, and controls, taken out of texts that carry it, at some layers.

    Attributes:
        layers: where.
        concept: number of the concept.
        method: how.
        words: [map, text] shift of the concept's words; the concept's own map first, then controls.
        reads: [map] shift of the readouts of the concept, mean over halves and texts; None without readers.
        loss: [some] damage on plain texts, nats a token, of the concept's own map and of a few controls.
        refits: what a probe fitted anew reads; empty if that was not measured.
    """

    layers: tuple[int, ...]
    concept: int
    method: EraseMethod
    words: Float[Tensor, "map text"]
    reads: Float[Tensor, " map"] | None
    loss: Float[Tensor, " some"]
    refits: tuple[Refit, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurements:
    """Everything that one check measured, besides generations.

    Attributes:
        layers: one a layer of the plan.
        ablations: one a place and concept.
    """

    layers: Sequence[MeasuredLayer]
    ablations: Sequence[MeasuredAblation] = ()

    @property
    def norms(self) -> Mapping[int, float]:
        """Layer -> mean residual norm."""
        return {measured.arms.layer: measured.norm for measured in self.layers}


def to_rows(tensor: Tensor | None) -> Any:
    """A tensor as nested lists."""
    if tensor is None:
        return None
    return [to_rows(row) for row in tensor] if tensor.ndim else float(f"{float(tensor):.6g}")


def from_rows(rows: Rows) -> Tensor:
    """The inverse of `to_rows`, float32."""
    return torch.from_numpy(np.array(rows, dtype=np.float32))
