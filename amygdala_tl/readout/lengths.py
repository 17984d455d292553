"""Calibration of means over any number of tokens: a sentence and a page have z on the scale of a single token.

The variance of the mean score of n tokens falls more slowly than 1 / n, because tokens of one text are alike, and down to what
differs between texts. `LengthCalibration` gives the curve. At n = 1 it is the variance of single tokens, which is measured; reach
and floor are those of maximum likelihood for texts with normal scores. All concepts share the reach of a layer: it follows from
how the model carries a text along, and one for each concept extrapolates worse.
"""

from collections.abc import Iterable

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.records import Calibration, LengthCalibration

_REACH = torch.logspace(0, 2, 97, dtype=torch.float64)
_FLOOR = torch.cat((torch.zeros(1), torch.logspace(-3, 0, 61))).double()
_EXACT, _STEP, _BINS = 16, 1.05, 256


def calibrate_lengths(
    parts: Iterable[tuple[Int[Tensor, "_ layer"], Float[Tensor, "_ layer d_model"]]],
    vectors: Float[Tensor, "layer concept d_model"],
    tokens: Calibration,
    weights: Float[Tensor, "layer concept"] | None = None,
) -> LengthCalibration | None:
    """Fit how the scores of texts that are pooled over their tokens vary with the number of tokens.

    Args:
        parts: numbers of readable tokens, and activations, of some texts; read once. Texts without readable tokens do not count.
        vectors: directions.
        tokens: calibration over single tokens.
        weights: also fit the sum over layers of weight times score, as one more layer; `tokens` then has it too.

    Returns:
        The calibration, or None if a layer has fewer than two texts with readable tokens.
    """
    bins, pattern = _Bins(*tokens.mean.shape), "text layer d_model, layer concept d_model -> text layer concept"
    for counts, activations in parts:
        scores = einsum(activations.double(), vectors.double(), pattern)
        if weights is not None:
            scores = torch.cat((scores, (scores * weights).sum(dim=1, keepdim=True)), dim=1)
            counts = torch.cat((counts, counts.amin(dim=1, keepdim=True)), dim=1)
        bins.add(counts, scores - tokens.mean.double())
    if bins.n < 2:
        return None
    fitted = [_fit(*bins.of(layer), tokens.std[layer].double().square()) for layer in range(len(tokens.std))]
    mean, floor, reach = (torch.stack(side).float() for side in zip(*fitted, strict=True))
    return LengthCalibration(tokens.mean + mean, floor, reach[:, None], bins.n)


class _Bins:
    """Sums over texts of about the same number of tokens."""

    def __init__(self, n_layers: int, n_concepts: int) -> None:
        self.counts = torch.zeros(2, n_layers, _BINS, dtype=torch.float64)
        self.scores = torch.zeros(2, n_layers, _BINS, n_concepts, dtype=torch.float64)

    @property
    def n(self) -> int:
        """Number of texts at the layer with fewest."""
        return int(self.counts[0].sum(dim=1).min())

    def add(self, counts: Int[Tensor, "text layer"], scores: Float[Tensor, "text layer concept"]) -> None:
        for layer, n in enumerate(counts.double().T):
            read = n > 0
            n, own = n[read], scores[read, layer]
            above = ((n / _EXACT).log() / torch.tensor(_STEP).log()).ceil()
            place = torch.where(n <= _EXACT, n, _EXACT + above).long().clamp_max(_BINS - 1)
            for power in range(2):
                self.counts[power, layer].index_add_(0, place, n**power)
                self.scores[power, layer].index_add_(0, place, own ** (power + 1))

    def of(self, layer: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return texts and tokens a text [bin], and the sums and squares of scores [bin, concept], of the bins with texts."""
        (texts, tokens), (total, square) = self.counts[:, layer], self.scores[:, layer]
        some = texts > 0
        return texts[some], tokens[some] / texts[some], total[some], square[some]


def _fit(
    texts: Float[Tensor, " bin"],
    tokens: Float[Tensor, " bin"],
    total: Float[Tensor, "bin concept"],
    square: Float[Tensor, "bin concept"],
    single: Float[Tensor, " concept"],
) -> tuple[Float[Tensor, " concept"], Float[Tensor, " concept"], Float[Tensor, ""]]:
    """Return mean, floor and reach of one layer: the likeliest of a grid, with the best mean for each point of it."""
    texts, best = rearrange(texts, "bin -> bin 1"), None
    for reach in _REACH:
        share = rearrange(reach / (tokens + reach - 1), "bin -> bin 1")
        variance = single * (share + rearrange(_FLOOR, "floor -> floor 1 1") * (1 - share))
        mean = (total / variance).sum(dim=1) / (texts / variance).sum(dim=1)
        about = rearrange(mean, "floor concept -> floor 1 concept")
        squares = square - 2 * about * total + texts * about.square()
        cost, floor = (texts * variance.log() + squares / variance).sum(dim=1).min(dim=0)  # minus twice the logarithm
        if best is None or cost.sum() < best[0]:
            best = cost.sum(), mean.gather(0, floor[None])[0], _FLOOR[floor], reach
    assert best is not None
    return best[1:]
