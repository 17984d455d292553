"""A request's `steer`: edits of the residual stream while this request runs, as a body says them."""

from typing import Annotated, Literal

import msgspec
from torch import Tensor

from amygdala_tl.readout.record import Readout


class Steer(msgspec.Struct, frozen=True):
    """An edit of the residual stream while a request runs.

    Attributes:
        concept, layer: of the readout's direction.
        kind: `add` adds it; `erase` takes the stream's part along it away; `clamp` sets that part.
        dose: how much to add, or what to set, in units of the layer's mean residual norm; `erase` ignores it.
    """

    concept: str
    layer: int
    dose: Annotated[float, msgspec.Meta(ge=-10, le=10)] = 0.0
    kind: Literal["add", "erase", "clamp"] = "add"

    def direction(self, readout: Readout) -> Tensor:
        """Return the unit direction [d_model] of this edit: a vector to steer with for `add`, else the one that reads.

        Raises:
            InputError: the readout has no such concept or layer.
            ReadoutError: the readout's write vectors are missing.
        """
        find = readout.write_direction if self.kind == "add" else readout.direction
        return find(self.concept, self.layer)
