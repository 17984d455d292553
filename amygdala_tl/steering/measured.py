"""What a check measures, before statistics: findings of a block as the journal keeps them, and a layer's as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.steering.arms import Arms, Readers

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
    """What taking each direction of a block out moves.

    Attributes:
        words: [direction, text] shift of the concept's words.
        reads: [direction] shift of the concept's readouts, mean over halves and texts; None without readers.
    """

    words: Rows
    reads: Rows | None = None


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
    """Directions taken out of texts that carry a concept, at some layers.

    Attributes:
        layers: where.
        concept: number of the concept.
        words: [direction, text] shift of the concept's words; the concept's own direction first, then random ones.
        reads: [direction] shift of the readouts of the concept, mean over halves and texts; None without readers.
    """

    layers: tuple[int, ...]
    concept: int
    words: Float[Tensor, "direction text"]
    reads: Float[Tensor, " direction"] | None


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
