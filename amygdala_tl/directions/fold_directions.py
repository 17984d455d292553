"""Directions without each fold of the texts, and of halves of them, from the sums of one pass over a layer.

`mean`, `whitened`, `joint` and the partly whitened need counts, sums and second moments only. Sums over cells (`fold_cells`) add
up to those of all folds but one, of all but two, and of any half, so a cross-validation costs one pass over the texts and not
one for each fit.

`whitened` and `joint` choose their shrinkage without the fold that they will score: they score about `ENOUGH_TEXTS` texts of
other folds, or all of them, with vectors of the remaining ones. The sums without two folds serve both of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.data import Estimate, LabelledTexts
from amygdala_tl.directions.denoise.removal import nothing
from amygdala_tl.directions.folds import Cells
from amygdala_tl.directions.method import Method, finish
from amygdala_tl.directions.partial_whitening import POWERS, partly_whiten
from amygdala_tl.directions.statistics import Statistics, gather_folds
from amygdala_tl.directions.whitening import ENOUGH_TEXTS, STRENGTHS, all_strengths, strengths_for, whiten

MEAN, JOINT = "mean", "joint"
WHITENED = ("whitened", JOINT)


@dataclass(frozen=True, slots=True)
class SomeDirections:
    """Directions of the concepts that can be fitted on some texts.

    Attributes:
        usable: concepts with texts in both classes.
        directions: unit rows of these concepts.
    """

    usable: Bool[Tensor, " concept"]
    directions: Float[Tensor, "some d_model"]

    def all_rows(self) -> Float[Tensor, "concept d_model"]:
        """Return the directions of all concepts, NaN where a concept cannot be fitted."""
        rows = self.directions.new_full((len(self.usable), self.directions.shape[1]), torch.nan)
        rows[self.usable] = self.directions
        return rows


class FoldDirections:
    """Directions of a streamable method at one layer of labelled texts, without any fold or of any cells."""

    def __init__(self, method: Method, texts: LabelledTexts, layer: int, cells: Cells) -> None:
        """Pass over the layer once.

        Args:
            method: a streamable method.
            texts: to fit on.
            layer: place of the layer.
            cells: of the texts.
        """
        self.method, self.texts, self.layer, self.cells = method, texts, layer, cells
        self._together = method.aggregator == JOINT
        parts = ((part, cells.cell[rows]) for rows, part in texts.passes(layer))
        self._sums = gather_folds(parts, cells.n_cells, second_moments=method.aggregator != MEAN)

    def without_folds(self, folds: Sequence[int]) -> dict[int, SomeDirections]:
        """Return the directions without each of these folds.

        Raises:
            FitError: a direction is zero or not finite, or a covariance cannot be inverted.
        """
        strengths = self._strengths(folds) if self.method.aggregator in WHITENED else dict.fromkeys(folds)
        return {
            fold: self._fit(self._sums.of(self.cells.outside(fold)), strength) for fold, strength in strengths.items()
        }

    def halves_cosine(
        self, halves: list[tuple[list[int], list[int]]], strength: float | None
    ) -> Float[Tensor, "half concept"]:
        """Compute the cosine between the directions of both halves; NaN where a half lacks one of the concept's classes.

        Args:
            halves: cells of both halves, for each halving.
            strength: shrinkage of `whitened` and `joint`; what estimates each half's covariance best if None.
        """
        found = torch.full((len(halves), self.texts.positive.shape[1]), torch.nan)
        for split, cells in enumerate(halves):
            statistics = [self._sums.of(half) for half in cells]
            usable = _complete(statistics[0]) & _complete(statistics[1])
            if usable.any():
                one, other = (self._fit(half, strength, usable).directions for half in statistics)
                found[split, usable] = einsum(one, other, "some d_model, some d_model -> some")
        return found

    def _fit(
        self, statistics: Statistics, strength: float | None, usable: Bool[Tensor, " concept"] | None = None
    ) -> SomeDirections:
        usable = _complete(statistics) if usable is None else usable
        if self.method.aggregator in WHITENED:
            vectors = whiten(statistics, strengths_for(statistics, strength), together=self._together).vectors
        elif self.method.aggregator == MEAN:
            vectors = statistics.difference
        else:
            power = POWERS[self.method.aggregator]
            vectors = partly_whiten(statistics, strengths_for(statistics, None), power).vectors
        vectors = vectors[usable]
        if not len(vectors):
            return SomeDirections(usable, vectors[:, 0])
        names = [str(place) for place in range(len(vectors))]
        return SomeDirections(
            usable, finish(self.method, Estimate(vectors), nothing(vectors), [], names).directions[:, 0]
        )

    def _strengths(self, folds: Sequence[int]) -> Mapping[int, float | None]:
        """Choose the shrinkage without each of these folds, on the AUROC of some other folds."""
        n_folds, n_texts = self.cells.n_folds, len(self.cells.cell)
        n_scored = min(n_folds - 1, math.ceil(ENOUGH_TEXTS * n_folds / n_texts)) if n_folds > 2 else 0
        scored: list[tuple[int, int]] = []
        for fold in range(n_folds):  # a fold that was scored without this one first: the same vectors serve both
            others = (each % n_folds for each in range(fold + 1, fold + n_folds))
            scored += [(fold, each) for each in sorted(others, key=lambda each: (each, fold) not in scored)[:n_scored]]
        scored = [pair for pair in scored if pair[0] in folds]
        tables: dict[int, list[Tensor]] = {fold: [] for fold in folds}
        for (fold, _), table in zip(scored, self._tables(scored), strict=True):
            tables[fold].append(table)
        return {fold: self._best(fold, table) for fold, table in tables.items()}

    def _best(self, fold: int, tables: list[Tensor]) -> float:
        table = torch.stack(tables).nanmean(dim=0) if tables else torch.full((1,), torch.nan)
        if not table.isnan().any():
            return STRENGTHS[int(table.argmax())]
        return strengths_for(self._sums.of(self.cells.outside(fold)), None)[0]

    def _tables(self, scored: list[tuple[int, int]]) -> list[Float[Tensor, " strength"]]:
        """Compute the mean AUROC of every strength, on the second fold of each pair with vectors of all folds but the two."""
        vectors: dict[frozenset[int], Tensor] = {}
        for pair in map(frozenset, scored):
            if pair not in vectors:
                vectors[pair] = all_strengths(self._sums.of(self.cells.outside(*pair)), together=self._together)[
                    :, :, 0
                ]
        scores: list[list[Tensor]] = [[] for _ in scored]
        rows_of: list[list[Tensor]] = [[] for _ in scored]
        fold = self.cells.fold
        for rows, part in self.texts.passes(self.layer, self._some_of_each_fold()) if scored else ():
            values = part.activations[:, 0].float()
            for number, (left_out, scoring) in enumerate(scored):
                own = fold[rows] == scoring
                pattern = "text d_model, strength concept d_model -> strength text concept"
                scores[number].append(einsum(values[own], vectors[frozenset((left_out, scoring))], pattern))
                rows_of[number].append(rows[own])
        found = []
        for some, rows_scored in zip(scores, rows_of, strict=True):
            labels = [each[torch.cat(rows_scored)] for each in (self.texts.positive, self.texts.negative)]
            of_strength = torch.cat(some, dim=1)
            some.clear()
            found.append(torch.stack([auroc(each, *labels).nanmean() for each in of_strength]))
        return found

    def _some_of_each_fold(self) -> Int[Tensor, " row"]:
        """Choose `ENOUGH_TEXTS` texts of each fold, or all of a smaller one, in rising order."""
        order = torch.randperm(len(self.cells.cell), generator=torch.Generator().manual_seed(0))
        fold = self.cells.fold[order]
        some = [order[fold == number][:ENOUGH_TEXTS] for number in range(self.cells.n_folds)]
        return torch.cat(some).sort().values


def _complete(statistics: Statistics) -> Bool[Tensor, " concept"]:
    return (statistics.n_positive > 0) & (statistics.n_negative > 0)
