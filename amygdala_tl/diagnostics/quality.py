"""How the positive texts of a concept lie about its direction, and which labels the readouts of the other texts contradict."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.diagnostics.records import Outlier

WORDS = 12
"""Of a text, that an outlier shows."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How the positive texts of every concept lie about its direction at one layer.

    Attributes:
        agreement: [concept] mean cosine between the direction and each positive text's activation, centred on the mean of all
            texts; 1 if every positive text points along the direction, about 0 if they do not know it. In d dimensions of
            noise it stays small even where the concept is read well.
        first_pc_share: [concept] share of the variance of the positive texts' activations on their first principal component.
        effective_dimension: [concept] participation ratio of that variance, (sum of eigenvalues)^2 / sum of their squares.
    """

    agreement: Float[Tensor, " concept"]
    first_pc_share: Float[Tensor, " concept"]
    effective_dimension: Float[Tensor, " concept"]


def spread_about_directions(
    activations: Float[Tensor, "text d_model"],
    positive: Bool[Tensor, "text concept"],
    directions: Float[Tensor, "concept d_model"],
) -> Spread:
    """Agreement, first-component share and effective dimension of every concept's positive texts; NaN for fewer than two.

    Args:
        activations: at the layer of the directions.
        positive: labels.
        directions: unit rows.
    """
    centred = activations.double() - activations.double().mean(dim=0)
    n_concepts = positive.shape[1]
    agreement, share, dimension = (torch.full((n_concepts,), torch.nan, dtype=torch.float64) for _ in range(3))
    for concept in range(n_concepts):
        own = centred[positive[:, concept]]
        if len(own) < 2:
            continue
        cosines = own @ directions[concept].double() / own.norm(dim=1)
        agreement[concept] = cosines.nanmean()
        own = own - own.mean(dim=0)
        gram = own @ own.T if len(own) <= own.shape[1] else own.T @ own
        values = torch.linalg.eigvalsh(gram).clamp_min(0.0)
        share[concept] = values[-1] / values.sum()
        dimension[concept] = values.sum().square() / values.square().sum()
    return Spread(agreement, share, dimension)


def outliers(
    scores: Float[Tensor, " text"],
    positive: Bool[Tensor, " text"],
    negative: Bool[Tensor, " text"],
    ids: Sequence[str],
    texts: Sequence[str],
    most: int = 5,
) -> tuple[Outlier, ...]:
    """Texts of one concept whose label the readouts of the other texts contradict, most surprising first.

    Surprise is the score in deviations of the *other* class from that class's mean, towards it and beyond: 0 for a positive
    text that scores like an average negative one. It tells mislabelled texts from merely untypical ones by how normal they
    would be on the other side. A class that is much larger has more extreme members and would fill one list alone, so each class
    has its own; and where the concept is not readable all texts are "surprising", so outliers mean something for readable
    concepts only.

    Args:
        scores: of directions fitted without the text's group (`cross_fitted_scores`); a text with NaN is left out.
        positive, negative: labels; texts that are neither are left out.
        ids, texts: of the texts, in the order of the scores.
        most: how many of each class at most.

    Returns:
        None where a class has fewer than two texts.
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
    return tuple(
        Outlier(
            text=ids[place],
            words=first_words(texts[place]),
            labelled="positive" if bool(positive[place]) else "negative",
            z=float(surprise[place]),
        )
        for place in order
    )


def first_words(text: str, most: int = WORDS) -> str:
    """The first words of a text in one line, with an ellipsis where there are more."""
    words = text.split(maxsplit=most)
    return " ".join(words[:most]) + (" ..." if len(words) > most else "")


def nearest_concepts(
    directions: Float[Tensor, "concept d_model"], concepts: Sequence[str], most: int = 5
) -> tuple[tuple[tuple[str, float], ...], ...]:
    """Of every concept the others with the largest cosine of their unit directions, largest first."""
    cosine = einsum(directions.double(), directions.double(), "i d_model, j d_model -> i j")
    found = []
    for place, row in enumerate(cosine.tolist()):
        others = sorted((-value, other) for other, value in enumerate(row) if other != place)
        found.append(tuple((concepts[other], -negated) for negated, other in others[:most]))
    return tuple(found)
