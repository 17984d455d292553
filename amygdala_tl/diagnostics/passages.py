"""The texts that a readout ranks highest and lowest."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.diagnostics.records import Passages
from amygdala_tl.readout.record import Readout


def extremes(
    readout: Readout,
    z: Float[Tensor, "text layer concept"],
    fine: Bool[Tensor, "text layer"],
    texts: Sequence[str],
    most: int,
) -> tuple[Passages, ...]:
    """Return the texts with the highest and the lowest z of every concept at its reading layer.

    Args:
        readout: names the axes and reading layers.
        z: calibrated scores.
        fine: False where a text has nothing but an attention sink to read.
        texts: as they are.
        most: number of texts a side; a text is never on both sides.
    """
    found = []
    for index, (concept, layer) in enumerate(readout.reading_layers.items()):
        column = readout.column(layer)
        values = z[:, column, index].masked_fill(~fine[:, column], torch.nan)
        order = [place for place in values.argsort(descending=True).tolist() if not values[place].isnan()]
        sides = order[:most], order[::-1][: min(most, max(0, len(order) - most))]
        top, bottom = (tuple((float(values[place]), texts[place]) for place in side) for side in sides)
        found.append(Passages(concept=concept, layer=layer, top=top, bottom=bottom))
    return tuple(found)
