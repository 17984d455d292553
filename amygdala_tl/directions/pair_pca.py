"""First principal component of the differences between positive texts and their negative counterparts.

Source: Zou et al. 2023, "Representation Engineering", arXiv:2310.01405, as steering-vectors' `pca_aggregator` computes it: the
component is uncentred, so that the mean difference counts as well as its spread.

The method depends on pairs. Two texts of a pair share their topic, which cancels in their difference. Two texts paired by
chance do not share it, and since topics vary far more than concepts, the first component of chance pairs is the topic. In a
corpus without pairs, each positive text is therefore matched with a negative of its own group, or else with its nearest
negative:

- The distance must ignore the concept itself; otherwise a positive is matched with the negative that looks most like the concept.
  So the concept's mean difference is projected out before matching. The plain difference of class means does not serve: with
  large topics it is mostly topic, and projecting it out hides the very thing that should match. A first matching in the whole
  space gives a mean difference without the topic, and a second one, with that projected out, gives the pairs.
- The differences of matched pairs are scaled to length 1. Matches at the fringe of the cloud are poor, and their squared
  lengths would dominate the first component (spherical principal components, Locantore et al. 1999, Test 8(1)).

With a topic axis 50 times as wide as the concept's effect (400 texts, 24 dimensions, mean of 30 seeds) the cosine to the truth is
.00 for chance pairs, .40 for the difference of class means, .21 for matching with that difference projected out, .15 without
scaling differences to length 1, and .94 with this method. Matching needs candidates: with 200 texts it is .48.
"""

from collections.abc import Sequence

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.estimators import estimator
from amygdala_tl.errors import FitError

ANCHORS_AT_ONCE = 1024
"""Number of texts with their distances to all others in memory at a time: 40 MB beside 10,000 texts."""


@estimator
def pca(data: LabelledActivations) -> Estimate:
    """Compute the unit first principal component of positive - negative differences of every concept at every layer.

    `pca(positive, negative)` takes two tensors and returns unit directions [layer, d_model]; see `estimator`, and give
    `paired=True` for contrast pairs.

    A concept with exactly one positive and one negative text in each of its groups is fitted on these pairs, any other concept
    on matched pairs (see the module). On average positives score higher than their counterparts. The result is deterministic: of
    two equally near negatives the first one counts. Vectors are zero for a concept with an empty class, and for differences that
    are all zero.

    Returns:
        Unit vectors. The parameters count the pairs by group and by neighbour, over all concepts, and give the first component's
        share of the differences' squared length at each layer, mean over concepts.

    Raises:
        FitError: an activation is not finite.
    """
    n_layers, n_concepts = data.activations.shape[1], data.positive.shape[1]
    given = [data.pairs(concept) for concept in range(n_concepts)]
    to_match = [concept for concept in data.complete().nonzero()[:, 0].tolist() if given[concept] is None]
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
    share = [round(share, 4) for share in shares.mean(dim=0).tolist()]
    counts = {"pairs_by_group": by_group, "pairs_by_neighbour": by_neighbour}
    return Estimate(vectors, {**counts, "first_component_share": share})


def match(
    values: Float[Tensor, "text d_model"],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
    groups: Int[Tensor, " text"],
) -> list[Int[Tensor, "pair 2"]]:
    """Match every positive text of each concept with its counterpart: rows (positive, negative) in the order of the texts.

    The counterpart is the nearest negative of the text's own group, or of all groups if its own has none. Distances ignore the
    concept's topic-free mean difference. A negative may serve many positives. Values are centred, and every concept has both
    classes.
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
    """Compute the eigenvalues of rows^T rows (not centred, not divided), largest first, and their unit eigenvectors.

    Works on the smaller of rows^T rows and rows rows^T. Eigenvectors of (nearly) zero eigenvalues are zero.

    Args:
        rows: matrix to decompose.
        limit: number of components; all min(row, d_model) if None.

    Raises:
        FitError: a value is not finite, or too large to be squared.
    """
    wide = rows.shape[0] < rows.shape[1]
    products = rows @ rows.T if wide else rows.T @ rows
    if not bool(torch.isfinite(products).all()):
        remedy = "capture them again, in bfloat16 or float32 rather than float16"
        raise FitError("activations are not finite", remedy=remedy)
    values, vectors = torch.linalg.eigh(products)
    values, vectors = values.flip(0)[:limit].clamp(min=0.0), vectors.flip(1)[:, :limit].T
    components = normalize(vectors @ rows, dim=1) if wide else vectors
    # float32 eigenvalues below a millionth of the first are rounding errors.
    real = values > 1e-6 * values[:1]
    return values, components * real[:, None]


def _first_component(differences: Float[Tensor, "pair d_model"]) -> tuple[Float[Tensor, " d_model"], Float[Tensor, ""]]:
    """Compute the uncentred first component, with the sign of the mean difference, and its share of the squared length."""
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
    """Find the rows (positive, nearest negative) of each concept, with distances along its row of `ignored` counted as zero.

    Distances in the whole space are computed once for all concepts; the part along `ignored` (unit or zero) is then subtracted.
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
    """Count the pairs, over all concepts, that share a group and those that do not."""
    by_group, by_neighbour = sum(len(rows) for rows in given if rows is not None), 0
    for concept in to_match:
        plus, minus = (data.groups[labels[:, concept]] for labels in (data.positive, data.negative))
        shared = int(torch.isin(plus, minus).sum())
        by_group, by_neighbour = by_group + shared, by_neighbour + len(plus) - shared
    return by_group, by_neighbour
