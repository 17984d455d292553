"""The numbers of one layer's arms, before statistics: what the check measures and the journal keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.steering.arms import Arms, Readers


@dataclass(frozen=True, slots=True)
class MeasuredLayer:
    """All doses of all arms at one layer.

    Attributes:
        arms: what was added.
        norm: mean residual norm, the unit of dose.
        words: [direction, dose, prompt, concept] shift of the concepts' words, nats.
        reads: [direction, dose, half, concept] shift of the later layer's readouts, as z; None without readers.
        kl, loss: [direction, dose] damage in nats a token, NaN for arms whose damage was not measured.
        readers: that `reads` is by.
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
    """Projecting directions out of texts that carry a concept, at some layers.

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


def to_rows(tensor: Tensor | None) -> Any:
    """A tensor as nested lists of numbers with 6 digits."""
    if tensor is None:
        return None
    return [to_rows(row) for row in tensor] if tensor.ndim else float(f"{float(tensor):.6g}")


def from_rows(rows: Any) -> Tensor:
    """The inverse of `to_rows`, float32."""
    return torch.tensor(rows, dtype=torch.float32)


def entry(**tensors: Tensor | None) -> Mapping[str, Any]:
    """Tensors as a journal keeps them."""
    return {name: to_rows(tensor) for name, tensor in tensors.items()}
