"""Edits of a request's residual stream, as its parameters carry them from the serving process to the engine.

An edit with unit vectors v and w is h + (amount - keep * (h.w)) v. `add` has keep 0. `clamp` has v = w and keep 1: it replaces
the stream's part along v by `amount`. `erase` has keep 1 / (w.v) and amount (w.m) / (w.v), see `readout.erasing`; with a bundle
without erasures it sets that part to 0. A request's edits of one layer apply in their order.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import torch
from torch import Tensor

from amygdala_tl.decode import convert
from amygdala_tl.errors import InputError
from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.steer import Steer

MOST_EDITS = 4
"""Of one layer by one request. Every token of every request computes as many, because a compiled graph has a fixed shape."""

_EDITS = "amygdala_tl_steer"
_MEASURED = "amygdala_tl_measure"
_REMEDY = "send fewer or other edits in `steer`"


class Edit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One edit, in the terms of a served readout.

    Attributes:
        column: position of its layer on the readout's layer axis.
        read, write: rows of w and v in `vectors_of`.
        keep: how many times the stream's own part along w is taken away.
        amount: how much of v is added, in the units of the stream.
    """

    column: Annotated[int, msgspec.Meta(ge=0)]
    read: Annotated[int, msgspec.Meta(ge=0)]
    write: Annotated[int, msgspec.Meta(ge=0)]
    keep: Annotated[float, msgspec.Meta(ge=0, le=1e30)]
    amount: Annotated[float, msgspec.Meta(gt=-1e30, lt=1e30)]


def vectors_of(readout: Readout) -> Tensor:
    """Return unit vectors [layer, row, d_model] in float32: those that read, and those to steer with unless they are missing.

    Then the vectors w and v of erasures, if the bundle has any.
    """
    missing, erasing = readout.write_vectors is None and readout.provenance.writer is not None, readout.erasing
    rows = [readout.vectors] if missing else [readout.vectors, readout.writing]
    known = torch.cat(rows, dim=1).float()
    unit: Tensor = known / known.norm(dim=-1, keepdim=True)
    return unit if erasing is None else torch.cat([unit, erasing.read, erasing.write], dim=1)


def edits_of(steers: Sequence[Steer], readout: Readout, units: Sequence[float]) -> list[Edit]:
    """Return the edits that a request asks for.

    Args:
        steers: from the request.
        readout: the served one.
        units: mean residual norm of each of its layers, the unit of dose.

    Raises:
        InputError: the readout has no such concept or layer, or a layer has too many edits.
        ReadoutError: its write vectors are missing.
    """
    edits = [_edit(steer, readout, units) for steer in steers]
    _refuse_too_many(edits)
    return edits


def _edit(steer: Steer, readout: Readout, units: Sequence[float]) -> Edit:
    steer.direction(readout)  # raises
    column, row, n = readout.column(steer.layer), readout.concepts.index(steer.concept), len(readout.concepts)
    if steer.kind == "add":
        return Edit(column, row, row + n, 0.0, steer.dose * units[column])
    if steer.kind == "clamp":
        return Edit(column, row, row, 1.0, steer.dose * units[column])
    if not readout.erases() or readout.erasing is None:
        return Edit(column, row, row, 1.0, 0.0)
    cosine, level = (float(each[column, row]) for each in readout.erasing.sizes())
    return Edit(column, row + 2 * n, row + 3 * n, 1 / cosine, level / cosine)


def put(edits: Sequence[Edit], extra_args: dict[str, Any]) -> None:
    """Put edits into the parameters of a request."""
    extra_args[_EDITS] = [list(msgspec.structs.astuple(edit)) for edit in edits]


def edits_in(parameters: Any, shape: Sequence[int]) -> list[Edit]:
    """Return the edits in a request's `SamplingParams`; empty for a request without any.

    Args:
        parameters: vLLM's, or None.
        shape: of the vectors, [layer, row, d_model].

    Raises:
        InputError: the parameters hold something else than edits of these vectors.
    """
    said = (getattr(parameters, "extra_args", None) or {}).get(_EDITS)
    if not said:
        return []
    edits: list[Edit] = convert(said, list[Edit], label=_EDITS, remedy=_REMEDY)
    if any(edit.column >= shape[0] or max(edit.read, edit.write) >= shape[1] for edit in edits):
        raise InputError("no such vector", label=_EDITS, got=said, need=list(shape[:2]), remedy=_REMEDY)
    _refuse_too_many(edits)
    return edits


def measuring() -> dict[str, Any]:
    """Return the `extra_args` of a request of which the engine keeps the norms."""
    return {_MEASURED: True}


def is_measured(parameters: Any) -> bool:
    """Return whether a request was sent with `measuring`."""
    return _MEASURED in (getattr(parameters, "extra_args", None) or {})


def salted(edits: Sequence[Edit], salt: str | None, vectors_sha256: str) -> str:
    """Return a salt with which a request finds the cached prefixes of requests with the same edits, and no others."""
    said = msgspec.json.encode([vectors_sha256, edits, salt])
    return "amygdala-tl-steer-" + hashlib.sha256(said).hexdigest()


def _refuse_too_many(edits: Sequence[Edit]) -> None:
    columns = [edit.column for edit in edits]
    if (most := max(map(columns.count, columns), default=0)) > MOST_EDITS:
        what = "too many edits of one layer"
        raise InputError(what, got=most, need=f"at most {MOST_EDITS}", remedy=_REMEDY)
