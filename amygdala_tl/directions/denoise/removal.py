"""Subspace of the residual stream to project out at each layer: the result of every denoiser of activations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.errors import InputError

NEGLIGIBLE = 1e-4
"""Length below which the rest of a unit vector, after projecting others out, is rounding error in float32."""


@dataclass(frozen=True, slots=True)
class Removal:
    """One subspace for each layer.

    Attributes:
        bases: [component, d_model] with orthonormal rows for each layer; there may be no row.
        parameters: choices made while fitting, JSON-ready, for the manifest.
    """

    bases: tuple[Float[Tensor, "_ d_model"], ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, activations: Float[Tensor, "*row layer d_model"]) -> Float[Tensor, "*row layer d_model"]:
        """Project the subspace out of activations, or of directions: x - x B^T B at each layer, in float32.

        The projection P is symmetric, so (P h) . v = h . (P v): a projected direction gives a raw activation the same score as a
        projected one. A server therefore needs no denoiser.

        Raises:
            InputError: the activations have a different number of layers or another d_model.
        """
        expected = [len(self.bases), *self.bases[0].shape[1:]] if self.bases else [0]
        if list(activations.shape[-2:]) != expected:
            need = f"[..., layer, d_model] with [layer, d_model] {expected}"
            remedy = "apply it to activations of the layers that it was fitted on"
            raise InputError(
                "the activations do not fit the removal", got=list(activations.shape), need=need, remedy=remedy
            )
        kept = activations.to(torch.float32, copy=True)
        for layer, basis in enumerate(self.bases):
            kept[..., layer, :] -= (kept[..., layer, :] @ basis.T) @ basis
        return kept


def nothing(like: Float[Tensor, "row layer d_model"]) -> Removal:
    """Make the removal that changes nothing, for the layers and on the device of `like`."""
    return Removal(tuple(like.new_zeros(0, like.shape[2], dtype=torch.float32) for _ in range(like.shape[1])))


def combine(removals: Sequence[Removal]) -> Removal:
    """Merge one or more removals into a single orthonormal one, without parameters; their bases need not be orthogonal."""
    bases = [basis[:0] for basis in removals[0].bases]
    for removal in removals:
        both = zip(bases, removal.bases, strict=True)
        bases = [torch.cat([basis, orthonormal(further, beyond=basis)]) for basis, further in both]
    return Removal(tuple(bases))


def orthonormal(
    rows: Float[Tensor, "row d_model"], beyond: Float[Tensor, "known d_model"] | None = None
) -> Float[Tensor, "component d_model"]:
    """Make orthonormal rows that span `rows` (of about unit length), except for the span of the orthonormal rows of `beyond`."""
    if not len(rows):
        return rows
    left = rows
    if beyond is not None:
        for _ in range(2):  # the second pass removes rounding errors, as in Gram-Schmidt
            left = left - (left @ beyond.T) @ beyond
    _, lengths, axes = torch.linalg.svd(left, full_matrices=False)
    axes = axes[lengths > NEGLIGIBLE]
    if beyond is not None:
        axes = axes - (axes @ beyond.T) @ beyond
    spanned: Tensor = torch.linalg.qr(axes.T).Q.T
    return spanned


def check_share(share: float) -> None:
    """Refuse a share of variance that is not between 0 and 1, by an `InputError`."""
    if not 0.0 < share < 1.0:
        what, need = "a share of variance lies between 0 and 1", "more than 0 and less than 1"
        raise InputError(what, got=f"{share:g}", need=need, remedy="write for example neutral-pca:0.5")


def components_for(variances: Float[Tensor, " component"], share: float, total: float) -> int:
    """Count the leading variances, largest first, that reach `share` of `total`; 0 if the total is not positive."""
    if total <= 0.0:
        return 0
    reached = variances.double().cpu().cumsum(0) >= share * total * (1.0 - 1e-6)
    return int((~reached).sum()) + 1 if bool(reached.any()) else len(variances)
