"""Mean and standard deviation of the scores of texts and of single tokens, so that z = (h.v - mean) / std."""

from collections.abc import Iterable

import torch
from einops import einsum, reduce
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.records import Calibration, TokenMoments


def calibrate_texts(
    parts: Iterable[Float[Tensor, "_ layer d_model"]], vectors: Float[Tensor, "layer concept d_model"]
) -> Calibration:
    """Calibrate on texts at their read position: `parts` hold at least two texts in all, and are read once."""
    n = 0
    mean = square = torch.zeros(())
    for activations in parts:
        values, pattern = activations.double(), "text layer d_model, layer concept d_model -> text layer concept"
        scores = einsum(values, vectors.double(), pattern)
        # Chan, Golub & LeVeque 1983: moments of two sets joined without losing digits to a mean far from zero.
        part_mean = reduce(scores, "text layer concept -> layer concept", "mean")
        shift, total = part_mean - mean, n + len(scores)
        square = square + (scores - part_mean).square().sum(dim=0) + shift.square() * n * len(scores) / total
        mean = mean + shift * len(scores) / total
        n = total
    return Calibration(mean=mean.float(), std=(square / (n - 1)).sqrt().float(), n=n)


def calibrate_tokens(moments: TokenMoments, vectors: Float[Tensor, "layer concept d_model"]) -> Calibration:
    """Calibrate on single tokens, from their first and second moments."""
    wide = vectors.double()
    mean = einsum(moments.mean.double(), wide, "layer d_model, layer concept d_model -> layer concept")
    pattern = "layer d_model other, layer concept d_model, layer concept other -> layer concept"
    square = einsum(moments.second.double(), wide, wide, pattern)
    std = (square - mean.square()).clamp_min(0.0).sqrt()
    return Calibration(mean=mean.float(), std=std.float(), n=int(moments.count.min()))
