"""A request's `steer` as edits of the residual stream."""

from collections.abc import Mapping, Sequence

from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.steer import Steer
from amygdala_tl.serve.requests import Refused
from amygdala_tl.steering.edits import NOT_FIRST, Ablate, Add, Clamp, Edit, Erase


def edits_of(steers: Sequence[Steer], readout: Readout, norms: Mapping[int, float]) -> dict[int, list[Edit]]:
    """Return layer -> edits in their order, of every token but the first of a sequence, as in the causal check.

    Args:
        steers: from the request.
        readout: the served one.
        norms: layer -> mean residual norm, the unit of dose.

    Raises:
        Refused: the readout has no such concept or layer, or its write vectors are missing.
    """
    edits: dict[int, list[Edit]] = {}
    for steer in steers:
        try:
            edit = _edit(steer, readout, norms)
        except (InputError, ReadoutError) as cause:
            raise Refused(str(cause), param="steer") from cause
        edits.setdefault(steer.layer, []).append(edit)
    return edits


def _edit(steer: Steer, readout: Readout, norms: Mapping[int, float]) -> Edit:
    direction = steer.direction(readout)
    if steer.kind == "add":
        return Add(direction, amount=steer.dose * norms[steer.layer], where=NOT_FIRST)
    if steer.kind == "clamp":
        return Clamp(direction, steer.dose * norms[steer.layer], where=NOT_FIRST)
    if readout.erases():
        return Erase(readout.eraser.at(steer.concept, layer=steer.layer), where=NOT_FIRST)
    return Ablate(direction, where=NOT_FIRST)
