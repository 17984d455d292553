"""Mean and standard deviation of the scores of texts and of single tokens, so that z = (h.v - mean) / std."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.running import RunningMoments
from amygdala_tl.records import Calibration, TokenPart


def calibrate_texts(
    parts: Iterable[Float[Tensor, "_ layer d_model"]], vectors: Float[Tensor, "layer concept d_model"]
) -> Calibration:
    """Calibrate on texts at their read position: `parts` hold at least two texts in all, and are read once."""
    moments, pattern = RunningMoments(), "text layer d_model, layer concept d_model -> text layer concept"
    for activations in parts:
        moments.add(einsum(activations.double(), vectors.double(), pattern))
    return Calibration(mean=moments.mean.float(), std=moments.deviation.float(), n=moments.n)


def token_quantiles(
    parts: Iterable[TokenPart], vectors: Float[Tensor, "layer concept d_model"], levels: Sequence[float]
) -> Float[Tensor, "level layer concept"]:
    """Compute quantiles of the scores of single tokens: the smallest score that a share of the tokens does not exceed.

    Args:
        parts: as for `calibrate_tokens`. In a store of an earlier version, they have the tokens' mean and covariance only.
        vectors: directions.
        levels: shares, between 0 and 1.
    """
    found = []
    for scores, weights, _ in _scores(parts, vectors):
        values, order = scores.sort(dim=0)
        below = weights[order].cumsum(dim=0) / weights.sum()
        wanted = below.new_tensor(levels).repeat(below.shape[1], 1)
        places = torch.searchsorted(below.T.contiguous(), wanted).T
        found.append(values.gather(0, places.clamp_max(len(values) - 1)))
    return torch.stack(found, dim=1).float()


def calibrate_tokens(parts: Iterable[TokenPart], vectors: Float[Tensor, "layer concept d_model"]) -> Calibration:
    """Calibrate on single tokens: `parts` hold at least one at every layer, and are read once."""
    means, stds, counts = [], [], []
    for scores, weights, count in _scores(parts, vectors):
        share = weights[:, None] / weights.sum()
        means.append((scores * share).sum(dim=0))
        stds.append(((scores - means[-1]).square() * share).sum(dim=0).sqrt())
        counts.append(count)
    return Calibration(mean=torch.stack(means).float(), std=torch.stack(stds).float(), n=min(counts))


def _scores(
    parts: Iterable[TokenPart], vectors: Float[Tensor, "layer concept d_model"]
) -> Iterator[tuple[Float[Tensor, "token concept"], Float[Tensor, " token"], int]]:
    """Yield the scores of the tokens at each layer, their weights, and how many tokens they stand for."""
    scores: list[list[Tensor]] = [[] for _ in vectors]
    weights: list[list[Tensor]] = [[] for _ in vectors]
    counts = [0] * len(vectors)
    for part in parts:
        scores[part.column].append(part.tokens.double() @ vectors[part.column].double().T)
        weights[part.column].append(part.weights)
        counts[part.column] += part.count
    for some, many, count in zip(scores, weights, counts, strict=True):
        yield torch.cat(some), torch.cat(many), count
