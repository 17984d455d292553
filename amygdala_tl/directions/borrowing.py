"""Directions of related concepts borrow strength from one another ("curds and whey").

Breiman & Friedman 1997 (J. R. Stat. Soc. B 59(1):3): predictions of several responses from the same features gain if they are
shrunk together, in the canonical coordinates of the responses, which here are mixtures of concepts. A mixture that many texts
carry and activations predict well (pleasant against unpleasant) is kept; one that is hardly predicted better than chance would
be on as many coordinates is mostly noise, and shrunk. Each direction becomes a mixture of all of them: a concept with few texts
gains most.
"""

import torch
from jaxtyping import Float
from torch import Tensor

SHARE = 0.5
"""Share of the chance level, coordinates over texts, that is taken off a canonical correlation. The derivation for unpenalised
regression takes all of it, which is too much for a shrunk covariance: by cross-validation on the demo graph and on GoEmotions'
training texts, concepts are read best at a half to three quarters. At a half, related concepts stay further apart."""

FLOOR = 0.01
"""Least factor, so that no direction vanishes."""


def borrow(
    vectors: Float[Tensor, "concept d_model"],
    signal: Float[Tensor, "concept d_model"],
    labels: Float[Tensor, "concept concept"],
    weights: Float[Tensor, " concept"],
    chance: float,
) -> Float[Tensor, "concept d_model"]:
    """Mix the vectors of related concepts.

    Args:
        vectors: the inverse covariance times each row of `signal`; NaN for a concept that takes no part.
        signal: differences of class means.
        labels: covariance of the concepts' labels.
        weights: what turns a difference of means into the covariance of activation and label.
        chance: squared correlation that labels without any relation to the activations would have: the degrees of freedom of
            the fit over the number of texts.

    Returns:
        Vectors of any length; NaN where `vectors` are NaN.
    """
    usable = torch.isfinite(vectors).all(dim=1)
    if not usable.any():
        return vectors
    own, scale = vectors[usable].double(), weights[usable].double()[:, None]
    predicted = (scale * signal[usable].double()) @ (scale * own).T
    root, inverse = _roots(labels[usable][:, usable].double())
    correlations, axes = torch.linalg.eigh(inverse @ (predicted + predicted.T) @ inverse / 2)
    factors = _factors(correlations.clamp(0.0, 1.0), min(0.9, SHARE * chance))
    mixing = root @ (axes * factors) @ axes.T @ inverse
    result = torch.full_like(vectors, torch.nan)
    result[usable] = (mixing @ (scale * own)).to(vectors.dtype)
    return result


def _factors(correlations: Float[Tensor, " axis"], chance: float) -> Float[Tensor, " axis"]:
    """Factor of each canonical coordinate, by generalised cross-validation (Breiman & Friedman, eq. 3.12)."""
    kept = 1.0 - chance
    spread = kept**2 * correlations + chance**2 * (1.0 - correlations)
    return (kept * (correlations - chance) / spread.clamp_min(1e-12)).clamp(FLOOR, 1.0)


def _roots(matrix: Float[Tensor, "n n"]) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
    """Square root of a symmetric matrix without negative eigenvalues, and its pseudo-inverse."""
    values, axes = torch.linalg.eigh(matrix)
    positive = values > values[-1] * len(values) * torch.finfo(torch.float32).eps
    root = torch.where(positive, values, 0.0).sqrt()
    inverse = torch.where(positive, root, 1.0).reciprocal() * positive
    return (axes * root) @ axes.T, (axes * inverse) @ axes.T
