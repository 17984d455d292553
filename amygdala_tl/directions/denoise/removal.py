"""A subspace of the residual stream to project out at each layer: what every denoiser of activations comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.errors import InputError

NEGLIGIBLE = 1e-4
"""Length below which what is left of a unit vector, after projecting others out, is rounding error in float32."""


@dataclass(frozen=True, slots=True)
class Removal:
    """One subspace a layer, and how it was found.

    Attributes:
        bases: [component, d_model] with orthonormal rows, one a layer; there may be no row.
        parameters: what was chosen on the way, JSON-ready, for the manifest.
    """

    bases: tuple[Float[Tensor, "_ d_model"], ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, activations: Float[Tensor, "row layer d_model"]) -> Float[Tensor, "row layer d_model"]:
        """x - x B^T B at each layer, float32: the rows (texts, or the directions of concepts) without the subspace.

        The projection P is symmetric, so (P h) . v = h . (P v): a direction that was itself projected gives an activation that
        was not the same score as one that was, and a server need not know of the denoiser.
        """
        kept = activations.to(torch.float32, copy=True)
        for layer, basis in enumerate(self.bases):
            kept[:, layer] -= (kept[:, layer] @ basis.T) @ basis
        return kept


def nothing(n_layers: int, like: Float[Tensor, "row layer d_model"]) -> Removal:
    """The removal that leaves all as it is, on the device of `like`."""
    return Removal(tuple(like.new_zeros(0, like.shape[2], dtype=torch.float32) for _ in range(n_layers)))


def combine(removals: Sequence[Removal]) -> Removal:
    """One orthonormal removal of all that any of `removals`, at least one, removes; their bases need not be orthogonal.

    Its parameters are empty: each step keeps its own.
    """
    bases = [torch.zeros_like(basis[:0]) for basis in removals[0].bases]
    for removal in removals:
        bases = [
            torch.cat([basis, orthonormal(further, beyond=basis)])
            for basis, further in zip(bases, removal.bases, strict=True)
        ]
    return Removal(tuple(bases))


def orthonormal(
    rows: Float[Tensor, "row d_model"], beyond: Float[Tensor, "known d_model"] | None = None
) -> Float[Tensor, "component d_model"]:
    """Orthonormal rows that span `rows`, of about unit length, as far as the orthonormal rows of `beyond` do not."""
    if not len(rows):
        return rows
    left = rows
    if beyond is not None:
        for _ in range(2):  # the second time takes off what rounding left, as in Gram-Schmidt
            left = left - (left @ beyond.T) @ beyond
    _, lengths, axes = torch.linalg.svd(left, full_matrices=False)
    axes = axes[lengths > NEGLIGIBLE]
    if beyond is not None:
        axes = axes - (axes @ beyond.T) @ beyond
    spanned: Tensor = torch.linalg.qr(axes.T).Q.T
    return spanned


def check_share(share: float) -> None:
    """Refuse a share of variance that is not between 0 and 1.

    Raises:
        InputError: says what was given.
    """
    if not 0.0 < share < 1.0:
        raise InputError(
            "a share of variance lies between 0 and 1",
            got=f"{share:g}",
            need="more than 0 and less than 1",
            remedy="write for example neutral-pca:0.5",
        )


def components_for(variances: Float[Tensor, " component"], share: float, total: float) -> int:
    """How many of the leading variances, largest first, it takes to reach `share` of `total`; 0 where total is not positive."""
    if total <= 0.0:
        return 0
    reached = variances.double().cpu().cumsum(0) >= share * total * (1.0 - 1e-6)
    return int((~reached).sum()) + 1 if bool(reached.any()) else len(variances)
