"""Mean and standard deviation of the scores of texts and of single tokens, so that z = (h.v - mean) / std."""

from collections.abc import Iterable

import torch
from einops import einsum, reduce
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.records import Calibration, TokenPart


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


def calibrate_tokens(parts: Iterable[TokenPart], vectors: Float[Tensor, "layer concept d_model"]) -> Calibration:
    """Calibrate on single tokens: `parts` hold at least one at every layer, and are read once."""
    scores: list[list[Tensor]] = [[] for _ in vectors]
    weights: list[list[Tensor]] = [[] for _ in vectors]
    counts = [0] * len(vectors)
    for part in parts:
        scores[part.column].append(part.tokens.double() @ vectors[part.column].double().T)
        weights[part.column].append(part.weights)
        counts[part.column] += part.count
    means, stds = [], []
    for some, many in zip(scores, weights, strict=True):
        values, share = torch.cat(some), torch.cat(many)[:, None] / torch.cat(many).sum()
        means.append((values * share).sum(dim=0))
        stds.append(((values - means[-1]).square() * share).sum(dim=0).sqrt())
    return Calibration(mean=torch.stack(means).float(), std=torch.stack(stds).float(), n=min(counts))
