"""What erases a readout's concepts, as a bundle keeps it, so that a server can erase without the corpus.

For one concept at one layer, with unit vectors w and u and the mean m of the training texts' activations:

    h - u (w.(h - m)) / (w.u)

This is the least-squares erasure of `directions.erasure`, with its vectors scaled to length 1. Nothing here imports more than a
stock vLLM installs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from amygdala_tl.readout.rounding import as_written
from amygdala_tl.records import ModelInfo

if TYPE_CHECKING:
    from amygdala_tl.directions.erasure import Eraser


@dataclass(frozen=True, slots=True, eq=False)
class Erasing:
    """The erasures of all concepts at all layers of a readout.

    Attributes:
        read: [layer, concept, d_model] float32 (float16 on disk), unit rows w.
        write: the same of u.
        mean: [layer, d_model] float32, m.
    """

    read: Tensor
    write: Tensor
    mean: Tensor

    def of_concepts(self, rows: Sequence[int]) -> "Erasing":
        """Return the erasures of the concepts in these rows."""
        return Erasing(self.read[:, rows], self.write[:, rows], self.mean)

    def written(self, model: ModelInfo | None) -> "Erasing":
        """Return the erasures rounded as in the bundle."""
        read, write = (as_written(each, model).float() for each in (self.read, self.write))
        return Erasing(read, write, self.mean)

    def sizes(self) -> tuple[Tensor, Tensor]:
        """Return w.u and w.m, [layer, concept] each: h becomes h - (w.h - w.m) / (w.u) u."""
        return (self.read * self.write).sum(dim=-1), (self.read * self.mean[:, None]).sum(dim=-1)

    def eraser(self, concepts: tuple[str, ...], layers: tuple[int, ...]) -> "Eraser":
        """Return them as `directions` has them."""
        from amygdala_tl.directions.erasure import Eraser

        difference, weights = self.write.transpose(0, 1), self.read.transpose(0, 1)
        return Eraser(concepts, layers, difference, weights, self.mean)


def beside(write: Tensor | None, erasing: Erasing | None) -> dict[str, Tensor]:
    """Return the tensors of the bundle's second file by their names; a readout without write vectors has no such file."""
    if write is None or erasing is None:
        return {} if write is None else {"write": write}
    return {"write": write, "erase_read": erasing.read, "erase_write": erasing.write, "erase_mean": erasing.mean}


def erasing_of(tensors: Mapping[str, Tensor]) -> Erasing | None:
    """Return the erasures in these tensors of a bundle's file, None if it has none; see `beside`."""
    if "erase_read" not in tensors:
        return None
    return Erasing(tensors["erase_read"], tensors["erase_write"], tensors["erase_mean"])
