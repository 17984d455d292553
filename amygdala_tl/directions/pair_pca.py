"""First principal component of the differences between positive texts and their negative counterparts.

Source: Zou et al. 2023, "Representation Engineering", arXiv:2310.01405, as steering-vectors' `pca_aggregator` computes it:
the component is uncentred, so that the mean difference counts as well as its spread.

What makes it work are the pairs. Two texts of a pair share their topic, which cancels in their difference; two texts that
met by chance do not, and since topics vary far more than concepts, the first component of chance pairs is the topic.
Where the corpus has no pairs they are therefore made by matching each positive text with a negative of its own group, or
else with its nearest negative. The details matter:

- The concept itself must not count in the distance, or a positive is matched with the negative that looks most like the
  concept. So its mean difference is projected out before matching. The plain difference of class means will not do: where
  topics are large it is mostly topic, and projecting it out blinds the matching to what it should match. So a first
  matching in the whole space gives a mean difference that is free of the topic, and a second one, with that projected
  out, gives the pairs.
- The differences of matched pairs are brought to length 1. Matches at the fringe of the cloud are bad ones, and squared
  lengths would make a few of them the first component (spherical principal components, Locantore et al. 1999, Test 8(1)).

With a topic axis 50 times as wide as the concept's effect (400 texts, 24 dimensions, mean of 30 seeds) the cosine to the truth is
.00 for chance pairs, .40 for the difference of class means, .21 for matching with that difference projected out, .15 without
bringing differences to length 1, and .94 as it is done here. Matches need candidates: with 200 texts it is .48.
"""

from collections.abc import Sequence

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.pairs import pairs_of
from amygdala_tl.errors import FitError

ANCHORS_AT_ONCE = 1024
"""Texts whose distances to all others are in memory at one time: 40 MB beside 10,000 texts."""


def pca(data: LabelledActivations) -> Estimate:
    """Unit first principal component of positive - negative differences of every concept at every layer.

    A concept whose groups hold exactly one positive and one negative text each is fitted on these pairs as they are; any
    other on matched pairs (see the module). Its sign is such that positives score higher than their counterparts on
    average. Deterministic; where two negatives are equally near, the first counts. Every concept must have a text in
    each class; its vectors are zero otherwise, as they are where all differences are zero.

    Returns:
        Unit vectors, and as parameters how many pairs were given or matched by group and by neighbour, over all concepts,
        and the first component's share of the differences' squared length at each layer, mean over concepts.

    Raises:
        FitError: an activation is not finite.
    """
    n_layers, n_concepts = data.activations.shape[1], data.positive.shape[1]
    labels = data.positive.T, data.negative.T
    given = [pairs_of(plus, minus, data.groups) for plus, minus in zip(*labels, strict=True)]
    to_match = [
        concept
        for concept in range(n_concepts)
        if given[concept] is None and bool(data.positive[:, concept].any() and data.negative[:, concept].any())
    ]
    vectors = data.activations.new_zeros(n_concepts, n_layers, data.activations.shape[2], dtype=torch.float32)
    shares = torch.zeros(n_concepts, n_layers)
    for layer in range(n_layers):
        values = data.activations[:, layer].float()
        values = values - values.mean(dim=0)
        pairs = dict(enumerate(given))
        matched = match(values, data.positive[:, to_match], data.negative[:, to_match], data.groups)
        pairs.update(zip(to_match, matched, strict=True))
        for concept, rows in pairs.items():
            if rows is not None:
                differences = values[rows[:, 0]] - values[rows[:, 1]]
                if given[concept] is None:
                    differences = normalize(differences, dim=1)
                vectors[concept, layer], shares[concept, layer] = _first_component(differences)
    by_group, by_neighbour = _count_pairs(data, given, to_match)
    return Estimate(
        vectors,
        {
            "pairs_by_group": by_group,
            "pairs_by_neighbour": by_neighbour,
            "first_component_share": [round(share, 4) for share in shares.mean(dim=0).tolist()],
        },
    )


def match(
    values: Float[Tensor, "text d_model"],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
    groups: Int[Tensor, " text"],
) -> list[Int[Tensor, "pair 2"]]:
    """Rows (positive, negative) of each concept: every positive text and its counterpart, in the order of the texts.

    The counterpart is the nearest negative of the text's own group, or of all where its group has none, in the space
    from which the concept's topic-free mean difference has been projected out. A negative may serve many positives.

    Args:
        values: activations at one layer, centred.
        positive, negative: labels; every concept has both.
        groups: equal for texts of one day or scene.
    """
    nowhere = values.new_zeros(positive.shape[1], values.shape[1])
    if not len(nowhere):
        return []
    pairs = _nearest_negatives(values, positive, negative, groups, nowhere)
    effects = [normalize(values[rows[:, 0]] - values[rows[:, 1]], dim=1).mean(dim=0) for rows in pairs]
    return _nearest_negatives(values, positive, negative, groups, normalize(torch.stack(effects), dim=1))


def principal_components(
    rows: Float[Tensor, "row d_model"], limit: int | None = None
) -> tuple[Float[Tensor, " component"], Float[Tensor, "component d_model"]]:
    """Eigenvalues of rows^T rows (not centred, not divided), largest first, and their unit eigenvectors.

    Computed on the smaller of rows^T rows and rows rows^T. Eigenvectors of (nearly) zero eigenvalues are zero.

    Args:
        rows: what to decompose.
        limit: how many to return; all min(row, d_model) if None.

    Raises:
        FitError: a value is not finite, or too large to be squared.
    """
    wide = rows.shape[0] < rows.shape[1]
    products = rows @ rows.T if wide else rows.T @ rows
    if not bool(torch.isfinite(products).all()):
        raise FitError(
            "activations are not finite", remedy="capture them again, in bfloat16 or float32 rather than float16"
        )
    values, vectors = torch.linalg.eigh(products)
    values, vectors = values.flip(0)[:limit].clamp(min=0.0), vectors.flip(1)[:, :limit].T
    components = normalize(vectors @ rows, dim=1) if wide else vectors
    # float32 eigenvalues below a millionth of the first are rounding errors.
    real = values > 1e-6 * values[:1]
    return values, components * real[:, None]


def _first_component(
    differences: Float[Tensor, "pair d_model"],
) -> tuple[Float[Tensor, " d_model"], Float[Tensor, ""]]:
    """Uncentred first component, with the sign of the mean difference, and its share of the squared length."""
    values, components = principal_components(differences, 1)
    sign = (components[0] @ differences.mean(dim=0)).sign()
    return sign * components[0], values[0] / differences.square().sum().clamp(min=torch.finfo(torch.float32).tiny)


def _nearest_negatives(
    values: Float[Tensor, "text d_model"],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
    groups: Int[Tensor, " text"],
    ignored: Float[Tensor, "concept d_model"],
) -> list[Int[Tensor, "pair 2"]]:
    """Rows (positive, nearest negative) of each concept, where `ignored`, one unit vector or zero a concept, has no length.

    Distances in the whole space are computed once for all concepts; the share of `ignored` is then taken off.
    """
    along = einsum(values, ignored, "text d_model, concept d_model -> concept text")
    excluded = rearrange(~negative, "text concept -> concept text").contiguous()
    pairs: list[list[Tensor]] = [[] for _ in ignored]
    anchors = reduce(positive, "text concept -> text", "any").nonzero()[:, 0]
    for some in torch.split(anchors, ANCHORS_AT_ONCE):
        distances = torch.cdist(values[some], values).square_()
        for concept, unfit in enumerate(excluded):
            mine = positive[some, concept].nonzero()[:, 0]
            rows = some[mine]
            squares = distances[mine].sub_((along[concept, rows, None] - along[concept]).square_())
            squares.masked_fill_(unfit, torch.inf)
            in_group = torch.isin(groups[rows], groups[~unfit]).nonzero()[:, 0]
            foreign = groups[rows[in_group], None] != groups
            squares[in_group] = squares[in_group].masked_fill_(foreign, torch.inf)
            pairs[concept].append(torch.stack([rows, squares.argmin(dim=1)], dim=1))
    return [torch.cat(some_pairs) for some_pairs in pairs]


def _count_pairs(
    data: LabelledActivations, given: Sequence[Int[Tensor, "pair 2"] | None], to_match: Sequence[int]
) -> tuple[int, int]:
    """How many pairs, over all concepts, share a group, and how many do not."""
    by_group = sum(len(rows) for rows in given if rows is not None)
    by_neighbour = 0
    for concept in to_match:
        plus, minus = (data.groups[labels[:, concept]] for labels in (data.positive, data.negative))
        shared = int(torch.isin(plus, minus).sum())
        by_group += shared
        by_neighbour += len(plus) - shared
    return by_group, by_neighbour
