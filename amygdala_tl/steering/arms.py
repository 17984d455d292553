"""The directions that are added at one layer: the concepts', and controls of the same length.

    concept      what is checked
    half 0, 1    the concepts' directions fitted on one half of the groups, for readouts fitted on the other half
    random       Gaussian, isotropic: any push of this size
    orthogonal   the same without its component in the span of the concepts' directions
    shuffled     the same estimator on labels shuffled over groups: what it gives where there is nothing to find

All concepts share the random directions: each one moves the words of all concepts, and is a control for each of them.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

ArmKind = Literal["concept", "half 0", "half 1", "random", "orthogonal", "shuffled"]

RANDOM_KINDS: tuple[ArmKind, ...] = ("random", "orthogonal")
DAMAGED = 20
"""At most this many random directions have their damage measured: unembedding all tokens of the plain texts costs as much as a
third of the model, and the mean over twenty is enough."""


@dataclass(frozen=True, slots=True)
class Readers:
    """Readouts of a later layer, each fitted on one half of the groups.

    Attributes:
        layer: the one they read, above the steered one.
        vectors: [half, concept, d_model] unit rows.
        deviation: [half, concept] standard deviation of the corpus's scores, to give shifts as z.
    """

    layer: int
    vectors: Float[Tensor, "half concept d_model"]
    deviation: Float[Tensor, "half concept"]


@dataclass(frozen=True, slots=True)
class LayerMaterial:
    """The fitted directions of one layer.

    Attributes:
        layer: where directions are added.
        concepts: [concept, d_model] unit rows: what is checked.
        every: directions of all the readout's concepts, checked or not, which the orthogonal controls avoid; `concepts` if None.
        halves: the concepts' directions fitted on two halves of the groups; None without a corpus.
        shuffled: directions of the same estimator on shuffled labels; None without a corpus.
        readers: readouts of a later layer, fitted on the same two halves; None if there is none.
    """

    layer: int
    concepts: Float[Tensor, "concept d_model"]
    halves: Float[Tensor, "half concept d_model"] | None = None
    shuffled: Float[Tensor, "shuffled d_model"] | None = None
    readers: Readers | None = None
    every: Float[Tensor, "every d_model"] | None = None


@dataclass(frozen=True, slots=True)
class Arms:
    """Directions at one layer, each with its kind.

    Attributes:
        layer: where they are added.
        kinds: one a direction.
        directions: [direction, d_model] unit rows.
    """

    layer: int
    kinds: tuple[ArmKind, ...]
    directions: Float[Tensor, "direction d_model"]

    def rows(self, *kinds: ArmKind) -> list[int]:
        """Numbers of the directions of these kinds, in order."""
        return [row for row, kind in enumerate(self.kinds) if kind in kinds]

    @property
    def damaged(self) -> list[int]:
        """Numbers of the directions whose damage is measured: the concepts', and the first isotropic ones."""
        return [*self.rows("concept"), *self.rows("random")[:DAMAGED]]


def make_arms(material: LayerMaterial, random: int, generator: torch.Generator) -> Arms:
    """All arms of a layer.

    Args:
        material: the fitted directions.
        random: how many random directions of each of the two kinds.
        generator: draws them.
    """
    width = material.concepts.shape[1]
    isotropic = random_directions(random, width, generator)
    drawn = torch.randn(random, width, generator=generator)
    parts: list[tuple[ArmKind, Tensor]] = [("concept", material.concepts.float())]
    if material.halves is not None:
        parts += [("half 0", material.halves[0].float()), ("half 1", material.halves[1].float())]
    avoided = material.concepts if material.every is None else material.every
    parts += [("random", isotropic), ("orthogonal", orthogonal_to(drawn, avoided))]
    if material.shuffled is not None:
        parts.append(("shuffled", material.shuffled.float()))
    return Arms(
        layer=material.layer,
        kinds=tuple(kind for kind, rows in parts for _ in rows),
        directions=torch.cat([rows for _, rows in parts]),
    )


def random_directions(count: int, d_model: int, generator: torch.Generator) -> Float[Tensor, "direction d_model"]:
    """Isotropic unit rows."""
    return _unit(torch.randn(count, d_model, generator=generator))


def orthogonal_to(
    vectors: Float[Tensor, "vector d_model"], directions: Float[Tensor, "concept d_model"]
) -> Float[Tensor, "vector d_model"]:
    """Unit rows: the vectors without their component in the span of the directions.

    Where the directions span everything there is nothing left; then the vectors keep their component.
    """
    basis, sizes, _ = torch.linalg.svd(
        rearrange(directions.double(), "concept d_model -> d_model concept"), full_matrices=False
    )
    basis = basis[:, sizes > 1e-6 * sizes.max()]
    wide = vectors.double()
    if basis.shape[1] < basis.shape[0]:
        wide = wide - wide @ basis @ basis.T
    return _unit(wide).float()


def _unit(rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
    unit: Tensor = rows / rows.norm(dim=-1, keepdim=True)
    return unit
