"""AUROC of every readout on every label, for hundreds of readouts and labels and thousands of texts.

A readout is sorted once for all labels. In that order, each positive text of a label wins against the label's negative texts
below it: one cumulative sum and one product for each label. Texts of neither class drop out by themselves. A run of equal
scores is one step of the order, and its own negatives count half (Mann & Whitney 1947).
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

LABELS_AT_A_TIME = 16
"""Keeps the texts' labels in the processor's cache, which is a third faster than all labels at once."""


def auroc_matrix(
    scores: Float[Tensor, "text readout"], positive: Bool[Tensor, "text label"], negative: Bool[Tensor, "text label"]
) -> Float[Tensor, "readout label"]:
    """Compute the AUROC of readout i on the positive against the negative texts of label j, float64 in [0, 1]. Ties count half.

    Counts are float32, so the result is exact up to 2^23 texts. 200 readouts x 200 labels x 10,000 texts take about 3 s.

    Args:
        scores: higher for texts that carry the concept; NaN for a text without a score.
        positive, negative: labels; texts that are neither do not count.

    Returns:
        NaN for a label with an empty class, and for a readout with a NaN among its scores.
    """
    columns = rearrange([positive, negative], "polarity text label -> polarity label text").float()
    blocks = torch.split(columns.contiguous(), LABELS_AT_A_TIME, dim=1)
    wins = scores.new_zeros(scores.shape[1], positive.shape[1], dtype=torch.float64)
    for readout, values in enumerate(rearrange(scores, "text readout -> readout text").contiguous()):
        values, order = values.sort()
        run = torch.unique_consecutive(values, return_inverse=True)[1] if (values[1:] == values[:-1]).any() else None
        wins[readout] = torch.cat([_wins(plus, minus, order, run) for plus, minus in blocks])
    pairs = positive.sum(dim=0).double() * negative.sum(dim=0).double()
    unknown = rearrange(scores.isnan().any(dim=0), "readout -> readout 1")
    return (wins / pairs).masked_fill(unknown, torch.nan)


def _wins(
    plus: Float[Tensor, "label text"],
    minus: Float[Tensor, "label text"],
    order: Int[Tensor, " text"],
    run: Int[Tensor, " text"] | None,
) -> Float[Tensor, " label"]:
    """Count the pairs in which the positive text scores higher than the negative one, given the order of the scores.

    `run` numbers each text's run of equal scores, in that order; it is None if all scores differ.
    """
    # `plus[:, order]` takes four times as long.
    plus, minus = plus.index_select(1, order), minus.index_select(1, order)
    if run is None:
        below = minus.cumsum(dim=1)
    else:
        of_run = plus.new_zeros(len(plus), int(run[-1]) + 1)
        plus, minus = of_run.index_add(1, run, plus), of_run.index_add(1, run, minus)
        below = minus.cumsum(dim=1) - minus / 2
    return below.mul_(plus).sum(dim=1, dtype=torch.float64)
