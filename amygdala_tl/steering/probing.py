"""Can a concept still be read where it has been taken out? Probes fitted anew, at every layer from there on.

The groups of the texts make two halves. What takes the concept out is fitted on one half, and all texts run with it. Then probes
are fitted on the edited texts and read on groups that they have not seen, in two ways:

    across    fitted on the half that the erasure was fitted on, read on the other half
    unseen    fitted and read within the other half, by cross-fitting over its groups

The halves change places, and AUROCs are averaged. The first way asks whether an erasure holds on new texts; a linear erasure
passes it at its own layer. The second asks whether somebody with other labelled texts can read the concept, which an erasure from
few texts does not prevent: it removes its estimate of the difference of means, and the estimate's error stays readable.

The probe is a whitened difference of means, the linear probe that reads best on few texts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.whitening import whitened
from amygdala_tl.steering.edits import Edit
from amygdala_tl.steering.erasing import LayerEraser

SHRINKAGE = 0.5
"""Of the probe's covariance; between a hundred and a thousand texts it is near the best at every layer."""

FOLDS = 4
"""Of the texts that an erasure has not seen."""

Run = Callable[[Sequence[str], Mapping[int, Sequence[Edit]], Sequence[int]], Tensor]
"""Runs texts, by their ids, with edits -> activations [text, layer, d_model] at the read position, at these layers."""


@dataclass(frozen=True, slots=True)
class ProbeTexts:
    """Texts that probes are fitted on and read.

    Attributes:
        ids: of the texts.
        positive, negative: labels of the tested concepts.
        groups, half: of the texts; half is 0 or 1, the same for all texts of a group.
        erasers: for each half, layer -> what erases concepts there, fitted on that half, with one control.
        run: runs some of the texts.
    """

    ids: tuple[str, ...]
    positive: Bool[Tensor, "text concept"]
    negative: Bool[Tensor, "text concept"]
    groups: Int[Tensor, " text"]
    half: Int[Tensor, " text"]
    erasers: tuple[Mapping[int, LayerEraser], Mapping[int, LayerEraser]]
    run: Run

    def of(self, concepts: Sequence[int]) -> Int[Tensor, " row"]:
        """Return the rows of the texts with a label of one of these concepts."""
        columns = list(concepts)
        rows: Tensor = (self.positive | self.negative)[:, columns].any(dim=1).nonzero()[:, 0]
        return rows


def choose_texts(
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
    half: Int[Tensor, " text"],
    order: Sequence[str],
    most: int,
) -> tuple[Bool[Tensor, "text concept"], Bool[Tensor, "text concept"]]:
    """Keep at most `most` labels of each class, concept and half: those of the texts that come first in `order`.

    Concepts share their negative texts where they can, because each text runs once for all of them.
    """
    places = torch.tensor(sorted(range(len(order)), key=order.__getitem__), dtype=torch.long)
    kept = []
    for labels in (positive, negative):
        result = torch.zeros_like(labels)
        for number in (0, 1):
            some = labels & (half == number)[:, None]
            within = some[places].cumsum(dim=0) <= most
            result[places] |= some[places] & within
        kept.append(result)
    return kept[0], kept[1]


def read_across(
    values: Sequence[Float[Tensor, "text layer d_model"]],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
    half: Int[Tensor, " text"],
) -> Float[Tensor, "concept layer"]:
    """AUROC of probes fitted on the half of the erasure and read on the other, mean over halves; NaN where one lacks a class.

    Args:
        values: for each half, the activations of all texts, edited by what was fitted on that half.
        positive, negative: labels.
        half: 0 or 1.
    """
    found = []
    for number, edited in enumerate(values):
        data = LabelledActivations(edited, positive, negative, torch.arange(len(half)))
        read = data.take(half != number)
        scores = read.scores(whitened(data.take(half == number), shrinkage=SHRINKAGE).vectors)
        found.append(_aurocs(scores, read))
    return torch.stack(found).nanmean(dim=0)


def read_unseen(
    values: Sequence[Float[Tensor, "text layer d_model"]],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
    groups: Int[Tensor, " text"],
    half: Int[Tensor, " text"],
) -> Float[Tensor, "concept layer"]:
    """AUROC of probes fitted and read within the half that the erasure has not seen; arguments as in `read_across`."""
    found = []
    for number, edited in enumerate(values):
        data = LabelledActivations(edited, positive, negative, groups).take(half != number)
        fold = group_folds(data.groups, FOLDS)
        scores = torch.full((data.n_layers, *data.positive.shape), torch.nan)
        for left_out in range(FOLDS):
            fit = data.take(fold != left_out)
            probes = whitened(fit, shrinkage=SHRINKAGE).vectors
            own = fit.scores(probes)
            z = (data.scores(probes) - own.mean(dim=1, keepdim=True)) / own.std(dim=1, keepdim=True)
            scores[:, fold == left_out] = z[:, fold == left_out]
        found.append(_aurocs(scores, data))
    return torch.stack(found).nanmean(dim=0)


def _aurocs(scores: Float[Tensor, "layer text concept"], data: LabelledActivations) -> Float[Tensor, "concept layer"]:
    return torch.stack([auroc(each, data.positive, data.negative) for each in scores], dim=1).float()
