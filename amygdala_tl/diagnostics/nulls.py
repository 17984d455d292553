"""Null models of AUROC: labels permuted over groups, and directions drawn at random.

Permuted labels test whether the scores depend on the labels at all. Random directions test whether the fitted direction matters:
a stream with strong topics separates many labels a little along any direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from amygdala_tl.diagnostics.auroc_matrix import auroc_matrix
from amygdala_tl.diagnostics.ranks import LabelByRanks, twice_ranks
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.diagnostics.threads import in_threads
from amygdala_tl.directions.auroc import auroc, runs
from amygdala_tl.directions.data import LabelledTexts

PERMUTATIONS = 1000

RANDOM_DIRECTIONS = 300

_LABELS_AT_A_TIME = 4_000_000


@dataclass(frozen=True, slots=True)
class PermutationNull:
    """AUROC with labels permuted over groups.

    Attributes:
        quantile: [concept] 95% quantile of the permuted AUROC.
        p_value: [concept] share of permutations (the real order counts as one) with at least the real AUROC; one-sided, not
            corrected for the number of concepts.
        corrected: [concept] p-values corrected for their number (`westfall_young`): accepting those up to 0.05 gives any error a
            probability of at most 5%.
    """

    quantile: Float[Tensor, " concept"]
    p_value: Float[Tensor, " concept"]
    corrected: Float[Tensor, " concept"]


def permutation_null(
    texts: ScoredTexts, generator: torch.Generator, permutations: int = PERMUTATIONS
) -> PermutationNull:
    """Compute the null of every concept's AUROC, with `permuted_texts` for the labels; NaN for a concept without both classes.

    Permuted labels leave the scores as they are. Of cross-fitted texts, the null is wider by their `widening`.

    Args:
        texts: scores and labels.
        generator: of the permutations; all concepts share them.
        permutations: their number.
    """
    known = texts.without_unscored()
    real = auroc(known.scores, known.positive, known.negative)
    null = real.new_full((len(real), permutations), torch.nan)
    judged = real.isfinite().nonzero()[:, 0].tolist()
    ranked = {concept: _Ranked.of(texts, concept) for concept in judged if not texts.scores[:, concept].isnan().any()}
    in_part = [concept for concept in judged if concept not in ranked]
    step = max(1, _LABELS_AT_A_TIME // max(1, len(texts.groups)))
    for some in torch.split(torch.arange(permutations), step):
        sources = permuted_texts(texts.groups, generator, len(some))
        places = torch.empty_like(sources).scatter_(
            1, sources.long(), torch.arange(len(texts.groups)).int().expand_as(sources)
        )
        found = in_threads(partial(_Ranked.auroc, places=places.numpy()), ranked.values())
        for concept, aurocs in zip(ranked, found, strict=True):
            null[concept, some] = aurocs
        for concept in in_part:
            labels = texts.positive[:, concept].float() - texts.negative[:, concept].float()
            scored = ~texts.scores[:, concept].isnan()
            null[concept, some] = _permuted_auroc(texts.scores[scored, concept].double(), labels, sources[:, scored])
    reached = 0.5 + (real - 0.5) / texts.widening
    counted = null.isfinite().sum(dim=1)  # a permutation can empty a class of the texts with a score
    p_value = ((1.0 + (null >= _not_quite(reached)).sum(dim=1).double()) / (1 + counted)).where(
        real.isfinite(), torch.nan
    )
    return PermutationNull(
        quantile=(0.5 + texts.widening * (null.nanquantile(0.95, dim=1) - 0.5)).clamp_max(1.0),
        p_value=p_value,
        corrected=torch.maximum(westfall_young(reached, null), p_value),
    )


def westfall_young(
    real: Float[Tensor, " concept"], null: Float[Tensor, "concept permutation"]
) -> Float[Tensor, " concept"]:
    """Correct the p-values of AUROCs for the number of concepts, by the largest one of each permutation of all their labels.

    Step-down max-T (Westfall & Young 1993; Ge, Dudoit & Speed 2003, TEST 12:1): the concept that lies k-th highest above 0.5, in
    deviations of its permutations, is compared with the highest of each permutation among itself and the lower ones; then
    p-values are made non-decreasing. Related concepts rise together, so the correction is milder than Holm's, and the smallest
    p-value, 1 over the number of permutations plus one, does not grow with the number of concepts.

    Args:
        real: AUROCs; NaN for a concept that cannot be judged, and does not count.
        null: with permuted labels, the same permutations for all concepts; NaN where one empties a class.

    Returns:
        One-sided p-values, NaN where `real` is.
    """
    result = torch.full_like(real, torch.nan)
    known = real.isfinite().nonzero()[:, 0]
    above = null[known] - 0.5
    deviation = above.square().nanmean(dim=1, keepdim=True).sqrt()
    deviation = torch.where(deviation > 0, deviation, torch.inf)  # scores that are all equal
    reached, order = ((_not_quite(real[known]) - 0.5) / deviation)[:, 0].sort(descending=True)
    highest = (above / deviation)[order].nan_to_num(nan=-torch.inf).flip(0).cummax(dim=0).values.flip(0)
    count = (highest >= rearrange(reached, "concept -> concept 1")).sum(dim=1)
    result[known[order]] = ((1.0 + count.double()) / (1 + null.shape[1])).cummax(dim=0).values
    return result


def _not_quite(auroc: Float[Tensor, " concept"]) -> Float[Tensor, "concept 1"]:
    """Return a little less: equal AUROCs differ in their last digits, by the order of summation."""
    return rearrange(auroc - 1e-9, "concept -> concept 1")


def permuted_texts(
    groups: Int[Tensor, " text"], generator: torch.Generator, permutations: int
) -> Int[Tensor, "permutation text"]:
    """Choose the text that gives its labels to each text. Groups change places, and the texts of a group stay in order.

    The labels of all groups, in random order, are laid over the texts, group by group. Groups of equal size each take the whole
    label pattern of another group. With unequal sizes a pattern may continue into the next group, so it is cut once or twice but
    never scattered. The counts of labels and their co-occurrence never change.
    """
    _, index, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    by_group = index.argsort(stable=True)
    first = sizes.cumsum(dim=0) - sizes
    rows = torch.empty(permutations, len(index), dtype=torch.int32)
    for row in rows:
        order = torch.empty_like(sizes)
        order[torch.randperm(len(sizes), generator=generator)] = torch.arange(len(sizes))
        moved = first[order] - (sizes[order].cumsum(dim=0) - sizes[order])
        laid = torch.arange(len(index)) + moved.repeat_interleave(sizes[order], output_size=len(index))
        row[by_group] = by_group[laid].int()
    return rows


def random_direction_null(
    texts: LabelledTexts,
    reference: LabelledTexts,
    generator: torch.Generator,
    directions: int = RANDOM_DIRECTIONS,
    *,
    combined: bool = False,
) -> Float[Tensor, "row concept"]:
    """Compute the null that `random_direction_nulls` computes, for one set of texts."""
    return random_direction_nulls((texts,), reference, generator, directions, combined=combined)[0]


def random_direction_nulls(
    sets: Sequence[LabelledTexts],
    reference: LabelledTexts,
    generator: torch.Generator,
    directions: int = RANDOM_DIRECTIONS,
    *,
    combined: bool = False,
) -> list[Float[Tensor, "row concept"]]:
    """Compute the 95% quantile over random directions of |AUROC - 0.5| + 0.5, at every layer, float64; NaN for an empty class.

    A random direction is Gaussian with the covariance of the reference activations: a sum of their deviations from the mean, each
    with a random weight. Differences of means of randomly labelled texts have this distribution, so leading components (topic,
    length, style) have the weight that a careless estimator would give them. Isotropic directions would be an easier null: nearly
    all of their variance lies in the many coordinates without signal, or in one massive one.

    Args:
        sets: texts that the readout is judged on, one set or several; the same directions serve all.
        reference: training texts.
        generator: of the weights.
        directions: their number.
        combined: add a row behind those of the layers, for sums over layers of standardised scores, a random direction each.

    Returns:
        [layer, concept] for each set, with the row of the sums if asked for.
    """
    rows: list[list[Tensor]] = [[] for _ in sets]
    totals = [torch.zeros(len(texts.groups), directions) for texts in sets]
    for layer in range(reference.n_layers):
        drawn, origin = _random_directions(
            reference, layer, torch.randn(directions, len(reference.groups), generator=generator)
        )
        for texts, found, total in zip(sets, rows, totals, strict=True):
            scores = torch.empty_like(total)
            for some, part in texts.passes(layer):
                scores[some] = (part.activations[:, 0].float() - origin) @ drawn.T
            found.append(_quantile(scores, texts))
            total += (scores - scores.mean(dim=0)) / scores.std(dim=0)
    if combined:
        for texts, found, total in zip(sets, rows, totals, strict=True):
            found.append(_quantile(total, texts))
    return [torch.stack(found) for found in rows]


def _quantile(scores: Float[Tensor, "text direction"], texts: LabelledTexts) -> Float[Tensor, " concept"]:
    found: Tensor = (auroc_matrix(scores, texts.positive, texts.negative) - 0.5).abs() + 0.5
    return found.quantile(0.95, dim=0)


def _random_directions(
    reference: LabelledTexts, layer: int, weights: Float[Tensor, "direction text"]
) -> tuple[Float[Tensor, "direction d_model"], Float[Tensor, " d_model"]]:
    """Sum the deviations of the reference texts from their mean, each with its weight; also return that mean, roughly."""
    origin = None
    for rows, part in reference.passes(layer):
        values, own = part.activations[:, 0].float(), weights[:, rows]
        if origin is None:  # sums about zero would lose digits to a mean far from it
            origin = values.mean(dim=0)
            drawn, total = origin.new_zeros(len(weights), len(origin)), torch.zeros_like(origin)
        drawn += own @ (values - origin)
        total += (values - origin).sum(dim=0)
    assert origin is not None
    mean = total / weights.shape[1]
    return drawn - rearrange(weights.sum(dim=1), "direction -> direction 1") * mean, origin + mean


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


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A concept with a score for every text.

    Attributes:
        ranks: [text], from `twice_ranks`.
        label: its classes.
    """

    ranks: NDArray[np.int32]
    label: LabelByRanks

    @classmethod
    def of(cls, texts: ScoredTexts, concept: int) -> "_Ranked":
        scores = rearrange(texts.scores[:, concept], "text -> 1 text")
        return cls(twice_ranks(scores)[0], LabelByRanks(texts.positive[:, concept], texts.negative[:, concept]))

    def auroc(self, places: NDArray[np.int32]) -> Float[Tensor, " permutation"]:
        """Compute the AUROC with permuted labels; `places`, [permutation, text], are those that each text gives its label to."""
        return self.label.auroc(self.ranks.take(places.take(self.label.columns, axis=1)))


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
