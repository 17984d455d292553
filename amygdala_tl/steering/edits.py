"""Edits of a residual stream: `Add`, `Ablate` and `Clamp` along directions, and `Erase`. Tensors in, tensors out.

With a unit direction v and a stream h:

    Add       h + amount v
    Ablate    h - (h.v) v
    Clamp     h - (h.v) v + value v
    Erase     h - (w.(h - m)) d / (w.d)     (see `directions.erasure`)

`Ablate` of a direction that reads well removes little: the classes still differ along others. `Erase` leaves nothing that a
linear probe could read.

An edit is a TransformerLens hook function, `(value, hook) -> value`, so it also works in `model.run_with_hooks`. The causal
check runs many arms of an experiment as one batch: each row then has its own direction and amount. `positions` gives the
absolute position of every token, so that an edit does the same to a text whether it runs at once or token by token.

`Add(direction, dose=0.2)` adds 0.2 times the layer's mean residual norm. `intervene` and `steer` measure that norm on a few
plain texts, without attention sinks (the first token among them). A bare hook function sees only the stream: it takes the mean
norm of each row's own tokens, again without sinks. `amount` is in the units of the stream and needs no norm.

Sources: adding, Turner et al. 2023, arXiv:2308.10248; ablating, Arditi et al. 2024, arXiv:2406.11717; erasing, Belrose et al.
2023, arXiv:2306.03819.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.directions.erasure import Erasure
from amygdala_tl.errors import InputError
from amygdala_tl.readout.dose import without_sinks

UNIT_TOLERANCE = 1e-2
"""How far from 1 the length of a direction may be; bfloat16 rounds a unit vector to within 4e-3."""


Size = float | int | Float[Tensor, " rows"]
"""One number for all rows of the batch, or one a row."""


@runtime_checkable
class Edit(Protocol):
    """What `intervene` takes: a function from a stream to the edited stream, of the same dtype."""

    def __call__(
        self,
        residual: Float[Tensor, "batch position d_model"],
        hook: object = None,
        *,
        positions: Int[Tensor, "rows position"] | None = None,
    ) -> Float[Tensor, "batch position d_model"]:
        """The edited stream."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which tokens are edited, by their absolute positions.

    Attributes:
        known: [rows, length], True where the token at that position is edited; one row for all, or one row each.
        beyond: whether tokens at positions from `length` on are edited, which includes generated ones.
    """

    known: Bool[Tensor, "rows length"]
    beyond: bool = True

    def __call__(self, positions: Int[Tensor, "rows position"]) -> Bool[Tensor, "_ position"]:
        """True where a token at this position is edited."""
        known = self.known.to(positions.device)
        rows = max(len(known), len(positions))
        length = known.shape[1]
        padded = torch.cat([known, known.new_full((len(known), 1), self.beyond)], dim=1).expand(rows, -1)
        return padded.gather(1, positions.expand(rows, -1).clamp(0, length))


EVERYWHERE = Where(torch.ones(1, 0, dtype=torch.bool))
"""Every token."""

NOT_FIRST = Where(torch.tensor([[False]]))
"""Every token but the one at position 0, which is usually an attention sink. The causal check edits these."""


@dataclass(frozen=True, slots=True, repr=False)
class _AlongDirection(ABC):
    """Base of the edits along one direction: checks it, and edits the tokens of `where` only.

    Attributes:
        direction: [d_model], or [batch, d_model] for one direction a row; unit length.
        where: which tokens.

    Raises:
        InputError: a direction is not of unit length.
    """

    direction: Float[Tensor, "*rows d_model"]
    where: Where = field(default=EVERYWHERE, kw_only=True)

    def __post_init__(self) -> None:
        _check_unit(self.direction)

    def __call__(
        self,
        residual: Float[Tensor, "batch position d_model"],
        hook: object = None,
        *,
        positions: Int[Tensor, "rows position"] | None = None,
    ) -> Float[Tensor, "batch position d_model"]:
        """The edited stream in its own dtype; tokens outside `where` stay as they are to the bit."""
        return _only(self.where, self._edited(residual, _rows(self.direction, residual)), residual, positions)

    @abstractmethod
    def _edited(self, residual: Tensor, rows: Tensor) -> Tensor:
        """Edit every token, in float32."""

    def _size(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(direction {list(self.direction.shape)}{self._size()})"


@dataclass(frozen=True, slots=True, repr=False)
class Add(_AlongDirection):
    """Adds a direction.

    Attributes:
        direction, where: as in every edit.
        dose: how much, in units of the layer's mean residual norm; one number, or one a row.
        amount: how much, in the units of the stream; give this or `dose`.

    Raises:
        InputError: a direction is not of unit length, or not exactly one of `dose` and `amount` is given.
    """

    dose: Size | None = field(default=None, kw_only=True)
    amount: Size | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_unit(self.direction)
        if (self.dose is None) == (self.amount is None):
            raise InputError(
                "an addition needs its size", got="both" if self.dose is not None else "neither",
                need="either dose or amount", remedy="for example dose=0.2",
            )  # fmt: skip

    def at_norm(self, norm: float) -> "Add":
        """The same with `amount` instead of `dose`, for a layer with this mean residual norm."""
        return self if self.dose is None else replace(self, dose=None, amount=self.dose * norm)

    def _edited(self, residual: Tensor, rows: Tensor) -> Tensor:
        amount = self.amount
        if amount is None:
            amount = torch.as_tensor(self.dose, device=residual.device) * mean_norm(residual)
        return residual.float() + _shift(rows, amount)

    def _size(self) -> str:
        return f", amount={_short(self.amount)}" if self.dose is None else f", dose={_short(self.dose)}"


@dataclass(frozen=True, slots=True, repr=False)
class Ablate(_AlongDirection):
    """Removes a direction from the stream: the projection on it is 0 afterwards."""

    def _edited(self, residual: Tensor, rows: Tensor) -> Tensor:
        return _without(residual, rows)


@dataclass(frozen=True, slots=True, repr=False)
class Clamp(_AlongDirection):
    """Sets the projection on a direction.

    Attributes:
        direction, where: as in every edit.
        value: the projection after the edit, in the units of the stream; one number, or one a row.
    """

    value: Size

    def _edited(self, residual: Tensor, rows: Tensor) -> Tensor:
        return _without(residual, rows) + _shift(rows, self.value)

    def _size(self) -> str:
        return f", value={_short(self.value)}"


@dataclass(frozen=True, slots=True, repr=False)
class Erase:
    """Erases concepts from the stream: no linear probe reads them afterwards.

        eraser = amygdala_tl.fit_eraser(readout, corpus, store)
        with intervene(lens, {14: Erase(eraser.at("joy", layer=14))}):
            ...

    Attributes:
        erasure: what to remove, of one concept or several; one for all rows of the batch, or one a row.
        where: which tokens.
    """

    erasure: Erasure
    where: Where = field(default=EVERYWHERE, kw_only=True)

    def __call__(
        self,
        residual: Float[Tensor, "batch position d_model"],
        hook: object = None,
        *,
        positions: Int[Tensor, "rows position"] | None = None,
    ) -> Float[Tensor, "batch position d_model"]:
        """The edited stream in its own dtype; tokens outside `where` stay as they are to the bit."""
        read, write = (_fitting(each, 2, residual) for each in (self.erasure.read, self.erasure.write))
        stream = residual.float()
        centred = stream - self.erasure.mean.to(stream)
        scores = einsum(
            centred, read.expand(len(stream), -1, -1), "row position d_model, row rank d_model -> row position rank"
        )
        moved = einsum(
            scores, write.expand(len(stream), -1, -1), "row position rank, row rank d_model -> row position d_model"
        )
        return _only(self.where, stream - moved, residual, positions)

    def __repr__(self) -> str:
        return f"Erase(rank {self.erasure.read.shape[-2]} of {self.erasure.read.shape[-1]})"


def mean_norm(residual: Float[Tensor, "*text token d_model"]) -> Float[Tensor, "*text"]:
    """Mean norm of each text's tokens in float32, without the first of several and other attention sinks."""
    rest = residual[..., 1:, :] if residual.shape[-2] > 1 else residual
    result: Tensor = norms_without_sinks(rest.detach()).nanmean(dim=-1)
    return result


def norms_without_sinks(residual: Float[Tensor, "*text token d_model"]) -> Float[Tensor, "*text token"]:
    """Norm of every token in float32, NaN for attention sinks."""
    return without_sinks(residual.float().norm(dim=-1))


def _check_unit(direction: Tensor) -> None:
    length = direction.detach().float().norm(dim=-1).flatten()
    off = (length - 1.0).abs()
    if bool((off > UNIT_TOLERANCE).any()):  # NaN passes: the check marks a direction that could not be fitted with it
        worst = float(length[off.nan_to_num(nan=0.0).argmax()])
        raise InputError(
            "a direction must have unit length", got=f"length {worst:.4g}", need="length 1",
            remedy="divide it by its norm",
        )  # fmt: skip


def _rows(
    direction: Float[Tensor, "*rows d_model"], residual: Float[Tensor, "batch position width"]
) -> Float[Tensor, "_ d_model"]:
    """The direction in float32 on the stream's device, as one row for all or one a row of the batch."""
    return _fitting(direction, 1, residual)


def _fitting(direction: Tensor, axes: int, residual: Float[Tensor, "batch position width"]) -> Tensor:
    """The direction, of `axes` axes, in float32 on the stream's device, as one for all rows of the batch or one a row."""
    rows = direction if direction.ndim > axes else direction[None]
    if rows.shape[-1] != residual.shape[2] or len(rows) not in (1, len(residual)):
        raise InputError(
            "the direction does not fit the residual stream", got=f"direction {list(direction.shape)}",
            need=f"[{residual.shape[2]}], or [{len(residual)}, {residual.shape[2]}] for a stream of {list(residual.shape)}",
            remedy="take a direction of this model and layer",
        )  # fmt: skip
    return rows.to(residual.device).float()


def _only(where: Where, edited: Tensor, residual: Tensor, positions: Tensor | None) -> Tensor:
    """The edited stream at the tokens of `where`, in the stream's dtype."""
    if positions is None:  # a bare hook function: the text starts with this forward pass
        positions = torch.arange(residual.shape[1], device=residual.device)[None]
    mask = rearrange(where(positions), "rows position -> rows position 1")
    return torch.where(mask, edited.to(residual.dtype), residual)


def _shift(rows: Float[Tensor, "rows d_model"], amount: float | Tensor) -> Float[Tensor, "_ 1 d_model"]:
    """amount times direction, to be broadcast over positions."""
    amounts = torch.as_tensor(amount, device=rows.device).float().reshape(-1)
    return rearrange(rows * rearrange(amounts, "rows -> rows 1"), "rows d_model -> rows 1 d_model")


def _without(
    residual: Float[Tensor, "batch position d_model"], rows: Float[Tensor, "rows d_model"]
) -> Float[Tensor, "batch position d_model"]:
    """h - (h.v) v in float32."""
    stream, rows = residual.float(), rows.expand(len(residual), -1)
    projection = einsum(stream, rows, "batch position d_model, batch d_model -> batch position")
    return stream - einsum(projection, rows, "batch position, batch d_model -> batch position d_model")


def _short(number: object) -> str:
    return f"{number:g}" if isinstance(number, float | int) else f"{list(torch.as_tensor(number).shape)}"
