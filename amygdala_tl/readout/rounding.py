"""float16 rounding that keeps the sum of every row.

A vector that is exported for centred weights has sum zero, so that it scores the stream alike with and without its mean. Rounding
each value by itself leaves a sum of about 1e-4, which the mean of a LayerNorm model's stream makes visible in the scores.
"""

import torch
from torch import Tensor

from amygdala_tl.records import ModelInfo


def round_keeping_sum(vectors: Tensor) -> Tensor:
    """Round vectors [..., d_model] to float16 so that every row sums to what it did, to within about 1e-7.

    The rounding error of each value is carried over to the next one, from the largest to the smallest: error diffusion.
    """
    order = vectors.abs().argsort(dim=-1, descending=True)
    values = vectors.double().gather(-1, order)
    rounded = torch.empty_like(values, dtype=torch.float16)
    carry = torch.zeros_like(values[..., 0])
    for place in range(values.shape[-1]):
        wanted = values[..., place] + carry
        rounded[..., place] = wanted.to(torch.float16)
        carry = wanted - rounded[..., place].double()
    return torch.empty_like(rounded).scatter(-1, order, rounded)


def as_written(vectors: Tensor, model: ModelInfo | None) -> Tensor:
    """Return the float16 vectors that a bundle holds for a readout of this model."""
    return round_keeping_sum(vectors) if model is not None and model.weights == "centred" else vectors.to(torch.float16)
