"""Spread of a concept's positive texts about its direction, and labels that cross-fitted readouts contradict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.diagnostics.records import Outlier
from amygdala_tl.directions.data import LabelledTexts

WORDS = 12
"""Number of words of a text that an outlier shows."""

MOST_POSITIVE = 1000
"""Number of a concept's positive texts that its spread is computed from: their products cost the square of it."""

MOST_NUMBERS = 2**26
"""Bound on the activations of positive texts in memory: 256 MB."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Spread of the positive texts of every concept about its direction at one layer.

    Attributes:
        agreement: [concept] mean cosine between the direction and each positive text's activation, centred on the mean of all
            texts; 1 if every positive text points along the direction, about 0 if none does. In d dimensions of noise it stays
            small even for a concept that is read well.
        first_pc_share: [concept] share of the variance of the positive texts' activations on their first principal component.
        effective_dimension: [concept] participation ratio of that variance, (sum of eigenvalues)^2 / sum of their squares.
    """

    agreement: Float[Tensor, " concept"]
    first_pc_share: Float[Tensor, " concept"]
    effective_dimension: Float[Tensor, " concept"]


def spread_about_directions(
    texts: LabelledTexts, column: Sequence[int], directions: Float[Tensor, "concept d_model"]
) -> Spread:
    """Compute agreement, first-component share and effective dimension of every concept's positive texts; NaN for fewer than two.

    Of more than `MOST_POSITIVE` positive texts a seeded choice is looked at.

    Args:
        texts: with their activations.
        column: place of the layer that each concept is read at.
        directions: unit rows, each of its concept's layer.
    """
    agreement, share, dimension = (torch.full((len(column),), torch.nan, dtype=torch.float64) for _ in range(3))
    for layer in sorted(set(column)):
        total = torch.zeros(texts.d_model, dtype=torch.float64)
        for _, part in texts.passes(layer):
            total += part.activations[:, 0].float().sum(dim=0)
        mean = total / len(texts.groups)
        for concept, own in _positive_texts(texts, layer, [c for c, place in enumerate(column) if place == layer]):
            own = own.double() - mean
            cosines = own @ directions[concept].double() / own.norm(dim=1)
            agreement[concept] = cosines.nanmean()
            own = (own - own.mean(dim=0)).float()
            gram = own @ own.T if len(own) <= own.shape[1] else own.T @ own
            values = torch.linalg.eigvalsh(gram).clamp_min(0.0).double()
            share[concept] = values[-1] / values.sum()
            dimension[concept] = values.sum().square() / values.square().sum()
    return Spread(agreement, share, dimension)


def _positive_texts(
    texts: LabelledTexts, layer: int, concepts: Sequence[int]
) -> Iterator[tuple[int, Float[Tensor, "text d_model"]]]:
    """Yield the positive texts of the concepts with two or more, from passes that hold `MOST_NUMBERS` at a time."""
    order = torch.randperm(len(texts.groups), generator=torch.Generator().manual_seed(0))
    chosen = {concept: order[texts.positive[order, concept]][:MOST_POSITIVE].sort().values for concept in concepts}
    left = [concept for concept, rows in chosen.items() if len(rows) > 1]
    while left:
        some = [left.pop(0)]
        rows = chosen[some[0]]
        while left and len(more := torch.unique(torch.cat([rows, chosen[left[0]]]))) * texts.d_model <= MOST_NUMBERS:
            some.append(left.pop(0))
            rows = more
        values = torch.empty(len(rows), texts.d_model)
        for found, part in texts.passes(layer, rows):
            values[torch.searchsorted(rows, found)] = part.activations[:, 0].float()
        for concept in some:
            yield concept, values[torch.searchsorted(rows, chosen[concept])]


def outliers(
    scores: Float[Tensor, " text"],
    positive: Bool[Tensor, " text"],
    negative: Bool[Tensor, " text"],
    ids: Sequence[str],
    texts: Sequence[str],
    most: int = 5,
) -> tuple[Outlier, ...]:
    """Find the texts of one concept with labels that cross-fitted readouts contradict, most surprising first.

    Surprise is the score in deviations of the *other* class from that class's mean, towards it and beyond: 0 for a positive text
    that scores like an average negative one. It separates mislabelled texts, which would be normal on the other side, from merely
    untypical ones. Each class has its own list, because a much larger class has more extreme members and would fill a common one.
    If the concept is not readable, all texts are "surprising": outliers are meaningful for readable concepts only.

    Args:
        scores: of directions fitted without the text's group (`cross_fitted_scores`); texts with NaN are left out.
        positive, negative: labels; texts that are neither are left out.
        ids, texts: of the texts, in the order of the scores.
        most: limit for each class.

    Returns:
        Nothing if a class has fewer than two texts.
    """
    known = scores.isfinite()
    positive, negative = positive & known, negative & known
    if min(int(positive.sum()), int(negative.sum())) < 2:
        return ()
    values = scores.double()
    surprise = torch.full_like(values, -torch.inf)
    for own, other, towards in ((positive, negative, -1.0), (negative, positive, 1.0)):
        z = towards * (values - values[other].mean()) / values[other].std()
        surprise = torch.where(own, z, surprise)
    sides = [
        surprise.masked_fill(~own, -torch.inf).argsort(descending=True, stable=True)[: min(most, int(own.sum()))]
        for own in (positive, negative)
    ]
    order = sorted(torch.cat(sides).tolist(), key=lambda place: -float(surprise[place]))
    found = []
    for place in order:
        label: Literal["positive", "negative"] = "positive" if bool(positive[place]) else "negative"
        found.append(Outlier(ids[place], first_words(texts[place]), label, float(surprise[place])))
    return tuple(found)


def first_words(text: str, most: int = WORDS) -> str:
    """Return the first words of a text in one line, with an ellipsis if there are more."""
    words = text.split(maxsplit=most)
    return " ".join(words[:most]) + (" ..." if len(words) > most else "")


def nearest_concepts(
    directions: Float[Tensor, "concept d_model"], concepts: Sequence[str], most: int = 5
) -> tuple[tuple[tuple[str, float], ...], ...]:
    """Find the nearest other concepts of every concept, by the cosine of their unit directions, largest first."""
    cosine = einsum(directions.double(), directions.double(), "i d_model, j d_model -> i j")
    found = []
    for place, row in enumerate(cosine.tolist()):
        others = sorted((-value, other) for other, value in enumerate(row) if other != place)
        found.append(tuple((concepts[other], -negated) for negated, other in others[:most]))
    return tuple(found)
