"""Edits of a residual stream along directions: add, ablate, clamp, ablate and add. Tensors in, tensors out; no model.

Every row of the batch has its own direction and amount, so that many arms of an experiment are one batch. An edit is told the
absolute position of every token, so that it does the same whether a text runs at once or token by token.

With a unit direction v and a stream h:

    Add             h + amount v
    Ablate          h - (h.v) v
    Clamp           h - (h.v) v + value v
    AblateThenAdd   h - (h.v) v + amount w

Sources: adding, Turner et al. 2023, arXiv:2308.10248; ablating, Arditi et al. 2024, arXiv:2406.11717.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

Intervention = Callable[
    [Float[Tensor, "batch position d_model"], Int[Tensor, "rows position"]], Float[Tensor, "batch position d_model"]
]
"""(residual stream, absolute position of every token, in one row for all or one row each) -> edited stream of the same dtype."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which tokens are edited, by their absolute positions.

    Attributes:
        known: [rows, length], True where the token at that position is edited; one row for all, or one row each.
        beyond: whether tokens at positions from `length` on are edited (those that are generated later).
    """

    known: Bool[Tensor, "rows length"]
    beyond: bool = True

    def __call__(self, positions: Int[Tensor, "rows position"]) -> Bool[Tensor, "_ position"]:
        """True where a token at this position is edited."""
        known = self.known.to(positions.device)
        rows = max(len(known), len(positions))
        length = known.shape[1]
        inside = positions.expand(rows, -1)
        padded = torch.cat([known, known.new_full((len(known), 1), self.beyond)], dim=1).expand(rows, -1)
        return padded.gather(1, inside.clamp(0, length))


EVERYWHERE = Where(torch.ones(1, 0, dtype=torch.bool))
"""Every token."""

NOT_FIRST = Where(torch.tensor([[False]]))
"""Every token but the one at position 0, which is an attention sink: nothing is ever read there."""


@dataclass(frozen=True, slots=True)
class Add:
    """Adds `amounts` times the directions.

    Attributes:
        directions: [batch, d_model], unit rows; or one row for all.
        amounts: [batch] in the units of the stream (dose times the layer's mean norm); or one for all.
        where: which tokens.
    """

    directions: Float[Tensor, "rows d_model"]
    amounts: Float[Tensor, " amounts"]
    where: Where = EVERYWHERE

    def __call__(
        self, residual: Float[Tensor, "batch position d_model"], positions: Int[Tensor, "rows position"]
    ) -> Float[Tensor, "batch position d_model"]:
        """The stream with the directions added."""
        return _edited(
            residual, residual.float() + _shift(self.directions, self.amounts, residual), self.where(positions)
        )


@dataclass(frozen=True, slots=True)
class Ablate:
    """Takes the directions out of the stream: the projection is 0 after it.

    Attributes:
        directions: [batch, d_model], unit rows; or one row for all.
        where: which tokens.
    """

    directions: Float[Tensor, "rows d_model"]
    where: Where = EVERYWHERE

    def __call__(
        self, residual: Float[Tensor, "batch position d_model"], positions: Int[Tensor, "rows position"]
    ) -> Float[Tensor, "batch position d_model"]:
        """The stream without its component along the directions."""
        return _edited(residual, _without(residual, self.directions), self.where(positions))


@dataclass(frozen=True, slots=True)
class Clamp:
    """Sets the projection on the directions.

    Attributes:
        directions: [batch, d_model], unit rows; or one row for all.
        values: [batch] projections after the edit, in the units of the stream; or one for all.
        where: which tokens.
    """

    directions: Float[Tensor, "rows d_model"]
    values: Float[Tensor, " values"]
    where: Where = EVERYWHERE

    def __call__(
        self, residual: Float[Tensor, "batch position d_model"], positions: Int[Tensor, "rows position"]
    ) -> Float[Tensor, "batch position d_model"]:
        """The stream with these projections."""
        edited = _without(residual, self.directions) + _shift(self.directions, self.values, residual)
        return _edited(residual, edited, self.where(positions))


@dataclass(frozen=True, slots=True)
class AblateThenAdd:
    """Takes one direction out and adds another one.

    Attributes:
        ablated: [batch, d_model], unit rows; or one row for all.
        added: the same.
        amounts: [batch] of the added ones, in the units of the stream; or one for all.
        where: which tokens.
    """

    ablated: Float[Tensor, "rows d_model"]
    added: Float[Tensor, "rows_added d_model"]
    amounts: Float[Tensor, " amounts"]
    where: Where = EVERYWHERE

    def __call__(
        self, residual: Float[Tensor, "batch position d_model"], positions: Int[Tensor, "rows position"]
    ) -> Float[Tensor, "batch position d_model"]:
        """The stream with one direction exchanged for the other."""
        edited = _without(residual, self.ablated) + _shift(self.added, self.amounts, residual)
        return _edited(residual, edited, self.where(positions))


def _shift(
    directions: Float[Tensor, "rows d_model"], amounts: Float[Tensor, " amounts"], residual: Tensor
) -> Float[Tensor, "_ 1 d_model"]:
    """amount times direction, float32, on the stream's device, to be broadcast over positions."""
    scaled = directions.to(residual.device).float() * rearrange(amounts.to(residual.device).float(), "rows -> rows 1")
    return rearrange(scaled, "rows d_model -> rows 1 d_model")


def _without(
    residual: Float[Tensor, "batch position d_model"], directions: Float[Tensor, "rows d_model"]
) -> Float[Tensor, "batch position d_model"]:
    """h - (h.v) v in float32."""
    stream = residual.float()
    rows = directions.to(residual.device).float().expand(len(residual), -1)
    projection = einsum(stream, rows, "batch position d_model, batch d_model -> batch position")
    return stream - einsum(projection, rows, "batch position, batch d_model -> batch position d_model")


def _edited(
    residual: Float[Tensor, "batch position d_model"],
    edited: Float[Tensor, "batch position d_model"],
    mask: Bool[Tensor, "rows position"],
) -> Float[Tensor, "batch position d_model"]:
    """The edited stream where the mask says so, in the dtype of the stream; elsewhere the stream to the bit."""
    return torch.where(rearrange(mask, "rows position -> rows position 1"), edited.to(residual.dtype), residual)
