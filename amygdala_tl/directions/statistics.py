"""Counts, sums and second moments of labelled activations, gathered in one pass, so that memory does not grow with the corpus.

`mean` and `whitened` need nothing else, for all texts and, in cross-validation, for all texts outside a fold. Sums are kept
about a fixed origin (the first texts' mean): a residual stream's mean is large compared with its spread, and float32 products
about zero would lose the difference.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.errors import FitError

BLOCK = 1024
"""Width of the blocks of a second moment; only those on and below the diagonal are summed, which is 60% of them at 5,120."""

Parts = Callable[[], Iterable[LabelledActivations]]
"""Function that starts one pass over a corpus and yields its texts in parts."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Sufficient statistics of labelled activations.

    Attributes:
        n: number of texts.
        mean: [layer, d_model] of all texts.
        covariance: [layer, d_model, d_model] of all texts, divided by n; None without second moments.
        n_positive, n_negative: [concept] number of texts of each class.
        positive_mean, negative_mean: [concept, layer, d_model]; NaN for an empty class.
        label_covariance: [concept, concept] of the labels, divided by n; a text that is in neither class counts as the mean.
        grade_covariance: [concept, layer, d_model] of activation and grade, over texts with a known grade; None without
            grades.
    """

    n: int
    mean: Float[Tensor, "layer d_model"]
    covariance: Float[Tensor, "layer d_model d_model"] | None
    n_positive: Int[Tensor, " concept"]
    n_negative: Int[Tensor, " concept"]
    positive_mean: Float[Tensor, "concept layer d_model"]
    negative_mean: Float[Tensor, "concept layer d_model"]
    label_covariance: Float[Tensor, "concept concept"]
    grade_covariance: Float[Tensor, "concept layer d_model"] | None = None

    @property
    def difference(self) -> Float[Tensor, "concept layer d_model"]:
        """Mean of the positive texts minus mean of the negative ones."""
        return self.positive_mean - self.negative_mean

    @property
    def signal(self) -> Float[Tensor, "concept layer d_model"]:
        """Covariance of activation and grade if there are grades, otherwise the difference of means."""
        return self.difference if self.grade_covariance is None else self.grade_covariance


class _Sums:
    """Running sums about a fixed origin. Sums about the same origin can be added and subtracted."""

    def __init__(
        self, origin: Float[Tensor, "layer d_model"], n_concepts: int, *, graded: bool, second_moments: bool
    ) -> None:
        layers, d_model = origin.shape
        self.origin = origin
        self.n = torch.zeros((), dtype=torch.long, device=origin.device)
        self.total = torch.zeros_like(origin)
        self.product = origin.new_zeros(layers, d_model, d_model) if second_moments else None
        self.counts = torch.zeros(2, n_concepts, dtype=torch.long, device=origin.device)
        # Texts in a class of one concept and a class of another.
        self.pairs = torch.zeros(2, 2, n_concepts, n_concepts, dtype=torch.long, device=origin.device)
        # Rows: sums over positive texts, negative texts, texts of known grade, and the last ones weighted by grade.
        self.classes = origin.new_zeros(4 if graded else 2, n_concepts, layers, d_model)
        self.grades = torch.zeros(2, n_concepts, dtype=torch.float64, device=origin.device) if graded else None

    def add(self, part: LabelledActivations) -> None:
        values = part.activations.float() - self.origin
        self.n += len(values)
        self.total += reduce(values, "text layer d_model -> layer d_model", "sum")
        labels = torch.stack([part.positive, part.negative])
        self.counts += reduce(labels.long(), "sort text concept -> sort concept", "sum")
        weights = labels.float()
        self.pairs += einsum(weights, weights, "sort text one, other text two -> sort other one two").long()
        if part.grades is not None and self.grades is not None:
            grades = torch.stack([(~part.grades.isnan()).float(), part.grades.nan_to_num(0.0).float()])
            self.grades += reduce(grades.double(), "sort text concept -> sort concept", "sum")
            weights = torch.cat([weights, grades])
        self.classes += einsum(weights, values, "sort text concept, text layer d_model -> sort concept layer d_model")
        if self.product is not None:
            for layer, product in enumerate(self.product):
                for block in _blocks(len(product)):  # the part above the diagonal blocks is filled in at the end
                    product[block, : block.stop].addmm_(values[:, layer, block].T, values[:, layer, : block.stop])

    def accumulate(self, other: "_Sums") -> None:
        """Add the sums of other texts."""
        for name in ("n", "total", "product", "counts", "pairs", "classes", "grades"):
            if (mine := getattr(self, name)) is not None:
                mine.add_(getattr(other, name))

    def statistics(self) -> Statistics:
        """Compute the statistics. The sums are overwritten and cannot be used again."""
        n = int(self.n)
        shift = self.total / n
        covariance = None
        if self.product is not None:
            covariance = self.product.div_(n)
            for layer, (matrix, row) in enumerate(zip(covariance, shift, strict=True)):
                for block in _blocks(len(matrix)):
                    matrix[: block.start, block] = matrix[block, : block.start].T
                covariance[layer] = matrix.addr_(row, row, alpha=-1)
        sizes = rearrange(self.counts, "polarity concept -> polarity concept 1 1")
        means = self.origin + self.classes[:2] / sizes
        grade_covariance = None
        if self.grades is not None:
            known, graded = self.classes[2:]
            n_known, mean_grade = self.grades[0].float(), (self.grades[1] / self.grades[0]).float()
            n_known, mean_grade = rearrange([n_known, mean_grade], "sort concept -> sort concept 1 1")
            grade_covariance = (graded - mean_grade * known) / n_known
        share = (self.counts[0] / self.counts.sum(dim=0)).double()
        centred = torch.stack([1.0 - share, -share])
        pattern = "sort one, other two, sort other one two -> one two"
        return Statistics(
            n=n,
            mean=self.origin + shift,
            covariance=covariance,
            n_positive=self.counts[0],
            n_negative=self.counts[1],
            positive_mean=means[0],
            negative_mean=means[1],
            label_covariance=(einsum(centred, centred, self.pairs.double(), pattern) / n).float(),
            grade_covariance=grade_covariance,
        )


class FoldedStatistics:
    """Statistics of all texts, and of any folds of them, from one pass that keeps one set of sums for each fold."""

    def __init__(self, sums: list[_Sums]) -> None:
        self._sums = sums

    def without(self, fold: int | None) -> Statistics:
        """Compute the statistics of all texts outside `fold`, of all texts if None."""
        return self.of([number for number in range(len(self._sums)) if number != fold])

    def of(self, folds: Sequence[int]) -> Statistics:
        """Compute the statistics of the texts of these folds, one or more."""
        result = copy.deepcopy(self._sums[folds[0]])
        for number in folds[1:]:
            result.accumulate(self._sums[number])
        return result.statistics()


def _blocks(size: int) -> Iterator[slice]:
    for start in range(0, size, BLOCK):
        yield slice(start, min(start + BLOCK, size))


def gather_folds(
    parts: Iterable[tuple[LabelledActivations, Int[Tensor, " text"]]], n_folds: int, *, second_moments: bool
) -> FoldedStatistics:
    """Gather the statistics of texts in parts, in one pass.

    Args:
        parts: some texts, and the fold of each, 0 to n_folds - 1.
        n_folds: number of folds; 1 for no folds.
        second_moments: also compute the covariance, at a cost of texts x layers x d_model^2.

    Raises:
        FitError: there is no text.
    """
    sums: list[_Sums] = []
    for part, fold in parts:
        if not len(part.activations):
            continue
        if not sums:
            origin = reduce(part.activations.float(), "text layer d_model -> layer d_model", "mean")
            options = {"graded": part.grades is not None, "second_moments": second_moments}
            sums = [_Sums(origin, part.positive.shape[1], **options) for _ in range(n_folds)]
        for number in sorted(set(fold.tolist())):
            sums[number].add(part if n_folds == 1 else part.take(fold == number))
    if not sums:
        raise FitError("there is no text to fit on", remedy="check the corpus")
    return FoldedStatistics(sums)


def gather(parts: Iterable[LabelledActivations], *, second_moments: bool) -> Statistics:
    """Gather the statistics of all texts of all parts, in one pass; raises as `gather_folds`."""
    one_fold = ((part, torch.zeros(len(part.activations), dtype=torch.long)) for part in parts)
    return gather_folds(one_fold, 1, second_moments=second_moments).without(None)
