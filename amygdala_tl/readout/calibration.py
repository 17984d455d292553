"""Mean and standard deviation of the scores of texts and of single tokens, so that z = (h.v - mean) / std."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.directions.running import RunningMoments
from amygdala_tl.readout.lengths import calibrate_lengths
from amygdala_tl.readout.scale import Combined, Scale
from amygdala_tl.records import Calibration, TokenPart

Lengths = Iterable[tuple[Int[Tensor, "_ layer"], Float[Tensor, "_ layer d_model"]]]
"""Numbers of readable tokens of some texts, and their activations."""


def calibrate(
    texts: Iterable[Float[Tensor, "_ layer d_model"]],
    tokens: Iterable[TokenPart],
    lengths: Lengths | None,
    vectors: Float[Tensor, "layer concept d_model"],
) -> tuple[Scale, Combined | None]:
    """Calibrate the scores of every layer, and combine them.

    Args:
        texts, tokens: as in `calibrate_texts` and `calibrate_tokens`.
        lengths: as in `calibrate_lengths`; None at a read position that is no mean, or where no lengths are known.
        vectors: directions.

    Returns:
        The calibrations, and the combined score; None for a store of an earlier version, which does not say which of its tokens
        at two layers are the same.
    """
    of_texts = _text_moments(texts, vectors)
    weights = 1.0 / of_texts.deviation
    of_tokens, together = _token_moments(tokens, vectors, weights)
    rows = of_tokens if together is None else _stacked(of_tokens, together)
    many = None if lengths is None else calibrate_lengths(lengths, vectors, rows, None if together is None else weights)
    scale = Scale(of_texts.calibration(), of_tokens, None if many is None else many.of_rows(slice(0, len(vectors))))
    if together is None:
        return scale, None
    last = None if many is None else many.of_rows(slice(len(vectors), None))
    return scale, Combined(weights.float(), Scale(of_texts.combined(weights), together, last))


def calibrate_texts(
    parts: Iterable[Float[Tensor, "_ layer d_model"]], vectors: Float[Tensor, "layer concept d_model"]
) -> Calibration:
    """Calibrate on texts at their read position: `parts` hold at least two texts in all, and are read once."""
    return _text_moments(parts, vectors).calibration()


@dataclass(frozen=True, slots=True)
class _TextMoments:
    """Moments of the scores of texts, float64.

    Attributes:
        mean, deviation: [layer, concept].
        products: [layer, layer, concept] covariance of the scores at two layers.
        n: number of texts.
    """

    mean: Float[Tensor, "layer concept"]
    deviation: Float[Tensor, "layer concept"]
    products: Float[Tensor, "layer layer concept"]
    n: int

    def calibration(self) -> Calibration:
        return Calibration(self.mean.float(), self.deviation.float(), self.n)

    def combined(self, weights: Float[Tensor, "layer concept"]) -> Calibration:
        variance = einsum(
            weights, self.products, weights, "layer concept, layer other concept, other concept -> concept"
        )
        mean = (weights * self.mean).sum(dim=0)
        return Calibration(mean[None].float(), variance.sqrt()[None].float(), self.n)


def _text_moments(
    parts: Iterable[Float[Tensor, "_ layer d_model"]], vectors: Float[Tensor, "layer concept d_model"]
) -> _TextMoments:
    """Accumulate the scores of texts, and their products about the mean of the first part, which keeps their digits."""
    moments, products, origin = RunningMoments(), torch.zeros(()), None
    pattern = "text layer d_model, layer concept d_model -> text layer concept"
    for activations in parts:
        scores = einsum(activations.double(), vectors.double(), pattern)
        moments.add(scores)
        origin = scores.mean(dim=0) if origin is None and len(scores) else origin
        if origin is not None:
            shifted = scores - origin
            pairs = "text layer concept, text other concept -> layer other concept"
            products = products + einsum(shifted, shifted, pairs)
    assert origin is not None
    shift = moments.mean - origin
    n, about = moments.n, einsum(shift, shift, "layer concept, other concept -> layer other concept")
    return _TextMoments(moments.mean, moments.deviation, (products - n * about) / (n - 1), n)


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
    for layer in _scores(parts, vectors):
        values, order = layer.scores.sort(dim=0)
        below = layer.weights[order].cumsum(dim=0) / layer.weights.sum()
        wanted = below.new_tensor(levels).repeat(below.shape[1], 1)
        places = torch.searchsorted(below.T.contiguous(), wanted).T
        found.append(values.gather(0, places.clamp_max(len(values) - 1)))
    return torch.stack(found, dim=1).float()


def calibrate_tokens(parts: Iterable[TokenPart], vectors: Float[Tensor, "layer concept d_model"]) -> Calibration:
    """Calibrate on single tokens: `parts` hold at least one at every layer, and are read once."""
    return _calibrated(list(_scores(parts, vectors)))


def _token_moments(
    parts: Iterable[TokenPart], vectors: Float[Tensor, "layer concept d_model"], weights: Float[Tensor, "layer concept"]
) -> tuple[Calibration, Calibration | None]:
    """Calibrate every layer on its tokens, and the weighted sum on those that are readable at all layers, if any are."""
    layers = list(_scores(parts, vectors))
    common = layers[0].names
    for layer in layers[1:]:
        common = common[torch.isin(common, layer.names)]
    if not len(common):
        return _calibrated(layers), None
    total, shares = torch.zeros(len(common), vectors.shape[1], dtype=torch.float64), torch.zeros_like(common).double()
    for layer, weight in zip(layers, weights, strict=True):
        order = layer.names.argsort()
        places = order[torch.searchsorted(layer.names[order], common)]
        total += layer.scores[places] * weight
        shares += layer.weights[places] / len(layers)
    return _calibrated(layers), _calibrated([_LayerScores(total, shares, common, round(float(shares.sum())))])


@dataclass(frozen=True, slots=True)
class _LayerScores:
    """Scores of the tokens of one layer.

    Attributes:
        scores: of each token.
        weights: how many tokens each one stands for.
        names: number of each token, the same at every layer; none if the store does not say.
        count: number of tokens that all of them stand for.
    """

    scores: Float[Tensor, "token concept"]
    weights: Float[Tensor, " token"]
    names: Int[Tensor, " named"]
    count: int


def _calibrated(layers: Sequence[_LayerScores]) -> Calibration:
    means, stds = [], []
    for layer in layers:
        share = rearrange(layer.weights / layer.weights.sum(), "token -> token 1")
        means.append((layer.scores * share).sum(dim=0))
        stds.append(((layer.scores - means[-1]).square() * share).sum(dim=0).sqrt())
    return Calibration(torch.stack(means).float(), torch.stack(stds).float(), min(layer.count for layer in layers))


def _stacked(one: Calibration, other: Calibration) -> Calibration:
    return Calibration(torch.cat((one.mean, other.mean)), torch.cat((one.std, other.std)), min(one.n, other.n))


def _scores(parts: Iterable[TokenPart], vectors: Float[Tensor, "layer concept d_model"]) -> Iterator[_LayerScores]:
    """Yield the scores of the tokens at each layer."""
    nameless = torch.empty(0, dtype=torch.int64)
    found: list[list[_LayerScores]] = [[] for _ in vectors]
    for part in parts:
        scores = part.tokens.double() @ vectors[part.column].double().T
        names = nameless if part.names is None else part.names
        found[part.column].append(_LayerScores(scores, part.weights, names, part.count))
    for layer in found:
        scores, weights, names = (
            torch.cat([getattr(part, name) for part in layer]) for name in ("scores", "weights", "names")
        )
        named = names if len(names) == len(scores) else nameless
        yield _LayerScores(scores, weights, named, sum(part.count for part in layer))
