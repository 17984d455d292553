"""Null models of AUROC: labels permuted over groups, and directions drawn at random.

Permuted labels test whether the scores depend on the labels at all. Random directions test whether the fitted direction matters:
a stream with strong topics separates many labels a little along any direction.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.diagnostics.auroc_matrix import auroc_matrix
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.directions.auroc import auroc, runs
from amygdala_tl.directions.data import LabelledActivations

MIN_PERMUTATIONS = 1000

PERMUTATIONS_A_CONCEPT = 25
"""Keeps the smallest p-value, 1 / (n + 1), below 0.05 after Holm's correction: it is at most 1/25."""

RANDOM_DIRECTIONS = 300

_LABELS_AT_A_TIME = 4_000_000


@dataclass(frozen=True, slots=True)
class PermutationNull:
    """AUROC with labels permuted over groups.

    Attributes:
        quantile: [concept] 95% quantile of the permuted AUROC.
        p_value: [concept] share of permutations (the real order counts as one) with at least the real AUROC; one-sided, not
            corrected for the number of concepts.
    """

    quantile: Float[Tensor, " concept"]
    p_value: Float[Tensor, " concept"]


def permutation_null(
    texts: ScoredTexts, generator: torch.Generator, permutations: int | None = None
) -> PermutationNull:
    """Compute the null of every concept's AUROC, with `permuted_texts` for the labels; NaN for a concept without both classes.

    Args:
        texts: scores and labels.
        generator: of the permutations; all concepts share them.
        permutations: how many; enough for Holm's correction if None.
    """
    known = texts.without_unscored()
    real = auroc(known.scores, known.positive, known.negative)
    count = max(MIN_PERMUTATIONS, PERMUTATIONS_A_CONCEPT * len(real)) if permutations is None else permutations
    sources = permuted_texts(texts.groups, generator, count)
    quantile, p_value = torch.full_like(real, torch.nan), torch.full_like(real, torch.nan)
    for concept in real.isfinite().nonzero()[:, 0].tolist():
        some = ~texts.scores[:, concept].isnan()
        labels = texts.positive[:, concept].float() - texts.negative[:, concept].float()
        null = _permuted_auroc(known.scores[some, concept], labels, sources if bool(some.all()) else sources[:, some])
        null = null[null.isfinite()]
        quantile[concept] = null.quantile(0.95)
        # Equal AUROCs differ in their last digits, by the order of summation.
        p_value[concept] = (1 + (null >= real[concept] - 1e-9).sum()) / (1 + len(null))
    return PermutationNull(quantile, p_value)


def permuted_texts(
    groups: Int[Tensor, " text"], generator: torch.Generator, permutations: int
) -> Int[Tensor, "permutation text"]:
    """Choose the text that gives its labels to each text. Groups change places, and the texts of a group stay in order.

    The labels of all groups, in random order, are laid over the texts, group by group. Groups of equal size each take the whole
    label pattern of another group. With unequal sizes a pattern may continue into the next group, so it is cut once or twice but
    never scattered. The counts of labels and their co-occurrence never change.
    """
    names, index = torch.unique(groups, return_inverse=True)
    by_group = index.argsort(stable=True)
    rows = torch.empty(permutations, len(index), dtype=torch.int32)
    for row in rows:
        place = torch.randperm(len(names), generator=generator)
        row[by_group] = place[index].argsort(stable=True).int()
    return rows


def random_direction_null(
    data: LabelledActivations,
    reference: Float[Tensor, "reference layer d_model"],
    generator: torch.Generator,
    directions: int = RANDOM_DIRECTIONS,
) -> Float[Tensor, "layer concept"]:
    """Compute the 95% quantile over random directions of |AUROC - 0.5| + 0.5, at every layer, float64; NaN for an empty class.

    A random direction is Gaussian with the covariance of the reference activations: a sum of their deviations from the mean, each
    with a random weight. Differences of means of randomly labelled texts have this distribution, so leading components (topic,
    length, style) have the weight that a careless estimator would give them. Isotropic directions would be an easier null: nearly
    all of their variance lies in the many coordinates without signal, or in one massive one.

    Args:
        data: texts that the readout is judged on.
        reference: training activations.
        generator: of the weights.
        directions: their number.
    """
    rows = []
    for layer in range(data.activations.shape[1]):
        known = reference[:, layer].float()
        weights = torch.randn(directions, len(known), generator=generator)
        drawn = weights @ (known - known.mean(dim=0))
        texts = data.activations[:, layer].float()
        found = auroc_matrix((texts - texts.mean(dim=0)) @ drawn.T, data.positive, data.negative)
        rows.append(((found - 0.5).abs() + 0.5).quantile(0.95, dim=0))
    return torch.stack(rows)


def holm(p_values: Float[Tensor, " concept"]) -> Float[Tensor, " concept"]:
    """Correct p-values for their number: accepting those up to 0.05 gives any error a probability of at most 5%.

    Holm 1979: the k-th smallest of m times m - k + 1, made non-decreasing. NaN stays NaN and does not count.
    """
    fine = p_values.isfinite()
    ordered, order = p_values[fine].sort()
    factors = torch.arange(len(ordered), 0, -1, dtype=p_values.dtype)
    corrected = torch.empty_like(ordered)
    corrected[order] = (ordered * factors).cummax(dim=0).values.clamp_max(1.0) if len(ordered) else ordered
    result = p_values.clone()
    result[fine] = corrected
    return result


def _permuted_auroc(
    scores: Float[Tensor, " text"], labels: Float[Tensor, " every"], sources: Int[Tensor, "permutation text"]
) -> Float[Tensor, " permutation"]:
    """Compute the AUROC with the labels (1, 0, -1) of the source texts; NaN for an empty class."""
    values, order = scores.sort()
    first, last = (place[:, 0] for place in runs(rearrange(values, "text -> text 1")))
    ties = bool((first != last).any())
    result = []
    for some in torch.split(sources, max(1, _LABELS_AT_A_TIME // max(1, len(values)))):
        # Indexing with brackets takes twice as long.
        places = rearrange(some.index_select(1, order), "permutation text -> (permutation text)")
        drawn = rearrange(labels.index_select(0, places), "(permutation text) -> permutation text", text=len(order))
        plus, minus = drawn.clamp_min(0.0), -drawn.clamp_max(0.0)
        below = minus.cumsum(dim=1)
        n_minus = below[:, -1].double()
        if ties:
            below = (below[:, last] + (below - minus)[:, first]) / 2
        wins = below.mul_(plus).sum(dim=1, dtype=torch.float64)
        result.append(wins / (plus.sum(dim=1, dtype=torch.float64) * n_minus))
    return torch.cat(result)
