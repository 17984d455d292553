"""A request's `steer`: edits of the residual stream while this request runs, as a body says them."""

from typing import Annotated, Literal

import msgspec
from torch import Tensor

from amygdala_tl.readout.record import Readout

NO_ERASURES = (
    "`erase` takes away what the readout reads, and a new probe still reads the concept: the bundle has no erasures"
)
"""What a server says of a bundle without erasures."""


class Steer(msgspec.Struct, frozen=True):
    """An edit of the residual stream while a request runs.

    Attributes:
        concept, layer: of the readout's direction.
        kind: `add` adds it; `clamp` sets the stream's part along it; `erase` erases the concept, so that no linear probe reads it
            at this layer, or with a bundle that has no erasures takes that part away, which a new probe hardly notices.
        dose: how much to add, or what to set, in units of the layer's mean residual norm; `erase` ignores it.
    """

    concept: str
    layer: int
    dose: Annotated[float, msgspec.Meta(ge=-10, le=10)] = 0.0
    kind: Literal["add", "erase", "clamp"] = "add"

    def direction(self, readout: Readout) -> Tensor:
        """Return the unit direction [d_model] of `add`, a vector to steer with, or of `clamp`, the one that reads.

        It is the latter for `erase` too, with a bundle that cannot erase.

        Raises:
            InputError: the readout has no such concept or layer.
            ReadoutError: the readout's write vectors are missing.
        """
        find = readout.write_direction if self.kind == "add" else readout.direction
        return find(self.concept, self.layer)
