"""The texts that a readout ranks highest and lowest."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.diagnostics.records import Passages
from amygdala_tl.readout.record import Readout


def extremes(
    readout: Readout,
    scores: Float[Tensor, "text layer concept"],
    counts: Int[Tensor, "text layer"],
    texts: Sequence[str],
    most: int,
) -> tuple[Passages, ...]:
    """Return the texts with the highest and the lowest z of every concept: over all layers, or at its reading layer.

    Args:
        readout: with a calibration of texts.
        scores: raw.
        counts: how many tokens each score is the mean of; 0 where a text has nothing but an attention sink to read.
        texts: as they are.
        most: number of texts a side; a text is never on both sides.
    """
    found: list[Passages] = []
    combined = None if readout.combined is None else readout.combined_z(scores, of="texts", tokens=counts)
    z = readout.calibrated(scores, of="texts", tokens=counts)
    for index, (concept, of) in enumerate(readout.reading_layers.items()):
        layer = of if combined is None else None
        column = readout.column(of)
        unread = counts[:, column] == 0 if combined is None else (counts == 0).any(dim=1)
        values = (z[:, column, index] if combined is None else combined[:, index]).masked_fill(unread, torch.nan)
        order = [place for place in values.argsort(descending=True).tolist() if not values[place].isnan()]
        sides = order[:most], order[::-1][: min(most, max(0, len(order) - most))]
        top, bottom = (tuple((float(values[place]), texts[place]) for place in side) for side in sides)
        found.append(Passages(concept=concept, layer=layer, top=top, bottom=bottom))
    return tuple(found)
