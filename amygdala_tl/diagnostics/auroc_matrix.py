"""AUROC of every readout on every label, for hundreds of readouts and labels and many thousands of texts."""

from functools import partial

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from amygdala_tl.diagnostics.ranks import LabelByRanks, twice_ranks
from amygdala_tl.diagnostics.threads import in_threads

NUMBERS_AT_A_TIME = 2**23
"""Bound on readouts times texts that are ranked together; a number takes up to 30 bytes in each thread for that time."""


def auroc_matrix(
    scores: Float[Tensor, "text readout"], positive: Bool[Tensor, "text label"], negative: Bool[Tensor, "text label"]
) -> Float[Tensor, "readout label"]:
    """Compute the AUROC of readout i on the positive against the negative texts of label j, float64 in [0, 1]. Ties count half.

    Args:
        scores: higher for texts that carry the concept; NaN for a text without a score.
        positive, negative: labels; texts that are neither do not count.

    Returns:
        NaN for a label with an empty class, and for a readout with a NaN among its scores.
    """
    labels = [LabelByRanks(*each) for each in zip(positive.T, negative.T, strict=True)]
    found = scores.new_empty(scores.shape[1], len(labels), dtype=torch.float64)
    rows = rearrange(scores, "text readout -> readout text").contiguous()
    for some in torch.split(torch.arange(len(rows)), max(1, NUMBERS_AT_A_TIME // max(1, len(scores)))):
        ranks = twice_ranks(rows[some])
        for place, aurocs in enumerate(in_threads(partial(_of_rows, ranks), labels)):
            found[some, place] = aurocs
    return found.masked_fill(rearrange(scores.isnan().any(dim=0), "readout -> readout 1"), torch.nan)


def _of_rows(ranks: NDArray[np.int32], label: LabelByRanks) -> Float[Tensor, " row"]:
    return label.auroc(ranks.take(label.columns, axis=1))
