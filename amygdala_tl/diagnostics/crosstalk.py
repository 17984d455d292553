"""Cross-talk: the response of each readout to other concepts, because they co-occur or because readouts cannot separate them.

A cosine alone shows neither. Two directions may be far apart and still give the same scores, because the stream varies little
along their difference. Scores may also correlate because labels do. A contrast decides: on texts with only one of two concepts,
does the difference of the two z-scores say which?
"""

from collections.abc import Collection, Sequence

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from torch import Tensor

from amygdala_tl.diagnostics.auroc_matrix import auroc_matrix
from amygdala_tl.diagnostics.pair_warnings import pair_warnings
from amygdala_tl.diagnostics.records import CrossTalk
from amygdala_tl.diagnostics.scored import ScoredTexts

RIDGE = 0.1
"""Penalty of `r_squared`, in squared lengths of a direction."""

CLUSTER_CORRELATION = 0.5
"""Mean |score correlation| above which concepts share a cluster."""


def cross_talk(
    concepts: Sequence[str],
    layer: int,
    directions: Float[Tensor, "concept d_model"],
    texts: ScoredTexts,
    generator: torch.Generator,
    read: Collection[str] | None = None,
) -> CrossTalk:
    """Compute cosines, AUROC of readout i on label j, correlations of labels and scores, redundancy, clusters and warnings.

    Args:
        concepts, layer: names of the directions, and their layer.
        directions: unit rows.
        texts: with a score for every concept.
        generator: of the bootstrap of the contrasts.
        read: concepts to warn about; all if None.
    """
    cosine = einsum(directions.double(), directions.double(), "i d_model, j d_model -> i j").clamp(-1.0, 1.0)
    score_correlation = correlation(texts.scores.double())
    label_correlation = correlation(texts.positive.double())
    cluster, order = clusters(score_correlation)
    return CrossTalk(
        concepts=tuple(concepts),
        layer=layer,
        cosine=cosine,
        auroc=auroc_matrix(texts.scores, texts.positive, texts.negative),
        n_positive=texts.positive.sum(dim=0),
        n_negative=texts.negative.sum(dim=0),
        label_correlation=label_correlation,
        score_correlation=score_correlation,
        r_squared=ridge_r_squared(cosine),
        cluster=cluster,
        order=order,
        warnings=pair_warnings(concepts, cosine, score_correlation, label_correlation, texts, generator, read),
    )


def correlation(values: Float[Tensor, "text concept"]) -> Float[Tensor, "concept concept"]:
    """Compute the Pearson correlations of columns, with 1 on the diagonal; NaN for a column that never varies.

    For columns of 0 and 1 this is the phi coefficient.
    """
    centred = values - values.mean(dim=0)
    lengths = centred.norm(dim=0)
    # A column of equal numbers has a length of rounding errors.
    lengths = torch.where(lengths > 1e-12 * values.norm(dim=0), lengths, torch.nan)
    unit = centred / lengths
    found = einsum(unit, unit, "text i, text j -> i j").clamp(-1.0, 1.0)
    found.diagonal()[~lengths.isnan()] = 1.0
    return found


def ridge_r_squared(cosine: Float[Tensor, "concept concept"]) -> Float[Tensor, " concept"]:
    """Compute the share of each unit direction that a ridge combination of the others reproduces, 0 to 1, from their cosines.

    The weights a minimise |v - sum of a_j v_j|^2 + RIDGE |a|^2, and the share is 1 - |v - sum of a_j v_j|^2. Without the
    penalty every share is 1 as soon as there are more concepts than dimensions, with huge weights of opposite signs. C random
    directions in d dimensions reach about (C - 1) / d.
    """
    gram = cosine.double()
    inverse = torch.linalg.inv(gram + RIDGE * torch.eye(len(gram), dtype=gram.dtype))
    # Row i of the inverse over its diagonal element is v_i minus the ridge combination of the others (block inverse).
    residual = inverse / rearrange(inverse.diagonal(), "i -> i 1")
    squared = einsum(residual, gram, residual, "i j, j k, i k -> i")
    share: Tensor = (1.0 - squared).clamp(0.0, 1.0)
    return share


def clusters(score_correlation: Float[Tensor, "concept concept"]) -> tuple[Int[Tensor, " concept"], tuple[int, ...]]:
    """Cluster the concepts, and order them with clusters contiguous and near concepts adjacent. Clusters count along the order.

    Average linkage on 1 - |score correlation|, cut at 1 - `CLUSTER_CORRELATION`, with optimal leaf ordering (Bar-Joseph et al.
    2001). It uses scores rather than cosines, because a reader sees scores, and absolute values, because two ends of one axis are
    one axis. A concept with a constant score has a cluster of its own.
    """
    n = len(score_correlation)
    if n == 1:
        return torch.zeros(1, dtype=torch.long), (0,)
    distance = 1.0 - score_correlation.double().nan_to_num().abs()
    distance = (distance + distance.T) / 2
    distance.fill_diagonal_(0.0)
    condensed = squareform(distance.clamp_min(0.0).numpy(), checks=False)
    tree = optimal_leaf_ordering(linkage(condensed, method="average"), condensed)
    order = tuple(int(leaf) for leaf in leaves_list(tree))
    found = fcluster(tree, 1.0 - CLUSTER_CORRELATION, criterion="distance").tolist()
    numbers: dict[int, int] = {}
    for leaf in order:
        numbers.setdefault(found[leaf], len(numbers))
    return torch.tensor([numbers[each] for each in found]), order
