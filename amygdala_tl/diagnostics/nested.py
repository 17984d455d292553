"""Scores of every text of a corpus by directions that were fitted, with all their choices, without its group.

The texts that a readout was fitted on get them by nested cross-fitting: for each fold, the method is chosen anew on the other
folds, and its strength on folds among these. Held-out texts are one fold more, which the readout itself scores.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.diagnostics.baselines import MOST_TEXTS, cross_fitted_bag_of_words
from amygdala_tl.diagnostics.cross_fit import N_FOLDS
from amygdala_tl.diagnostics.evaluation import JudgedTexts, at_reading_layer
from amygdala_tl.directions.choice import choose_method
from amygdala_tl.directions.data import LabelledActivations, LabelledTexts
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.method import Method
from amygdala_tl.errors import FitError
from amygdala_tl.readout.record import Readout

INNER_FOLDS = 3
"""Folds among the other folds, on which the method of a fold is chosen."""


def methods_of_folds(
    sample: LabelledActivations,
    neutral: Float[Tensor, "neutral layer d_model"],
    candidates: Sequence[Method],
    fold: Int[Tensor, " text"],
    on_fold: Callable[[], None] = lambda: None,
) -> list[Method | None]:
    """Choose the method of every fold on the other folds; None where none can be fitted on them.

    Args:
        sample: training texts that methods are compared on.
        neutral: neutral training texts, for denoisers that need them.
        candidates: methods to compare.
        fold: of each text of the sample.
        on_fold: called after each fold.
    """
    chosen: list[Method | None] = []
    for held_out in range(int(fold.max()) + 1):
        kept = sample.take(fold != held_out)
        try:
            chosen.append(choose_method(kept.of_concepts(kept.complete()), neutral, candidates, INNER_FOLDS)[0])
        except FitError:
            chosen.append(None)
        on_fold()
    return chosen


def cross_fitted_words(texts: JudgedTexts, held_out: Sequence[str] = (), seed: int = 0) -> Float[Tensor, "any concept"]:
    """Score every text by the bag of words of the other folds, and then held-out ones; large corpora have two folds."""
    data = texts.data
    fold = group_folds(data.groups, N_FOLDS if len(texts.texts) <= MOST_TEXTS else 2, seed)
    return cross_fitted_bag_of_words(texts.texts, data.positive, data.negative, fold, held_out)


def over_layers(
    readout: Readout,
    scores: Float[Tensor, "layer text concept"],
    reading_layer: Int[Tensor, " concept"],
    counts: Int[Tensor, "text layer"] | None,
) -> Float[Tensor, "text concept"]:
    """Turn cross-fitted scores into the score that a readout is judged by: z over all layers, or its reading layer's score.

    Cross-fitted scores are in deviations of training texts, as the sum over layers is. No label enters the calibrations.
    """
    if (combined := readout.combined) is None:
        return at_reading_layer(readout, rearrange(scores, "layer text concept -> text layer concept"), reading_layer)
    return combined.z_of_sum(scores.sum(dim=0) + combined.scale.of("texts").mean, of="texts", tokens=counts)


@dataclass(frozen=True, slots=True)
class JoinedTexts:
    """Training texts and then held-out ones, as one set of labelled texts; fulfils `directions.data.LabelledTexts`.

    Attributes:
        known, unseen: both sets; they share no group, whatever their numbers.
    """

    known: LabelledTexts
    unseen: LabelledTexts

    @property
    def positive(self) -> Bool[Tensor, "text concept"]:
        """Labels of both."""
        return torch.cat([self.known.positive, self.unseen.positive])

    @property
    def negative(self) -> Bool[Tensor, "text concept"]:
        """Labels of both."""
        return torch.cat([self.known.negative, self.unseen.negative])

    @property
    def groups(self) -> Int[Tensor, " text"]:
        """Groups of both, with numbers of their own."""
        return torch.cat([self.known.groups, self.unseen.groups + (int(self.known.groups.max()) + 1)])

    @property
    def grades(self) -> Float[Tensor, "text concept"] | None:
        """None: only training texts have grades."""
        return None

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return self.known.n_layers

    @property
    def d_model(self) -> int:
        """Number of coordinates."""
        return self.known.d_model

    def passes(
        self, layer: int | None = None, rows: Int[Tensor, " row"] | None = None
    ) -> Iterator[tuple[Int[Tensor, " _"], LabelledActivations]]:
        """Pass over the training texts, then over the held-out ones."""
        start, parts = 0, (self.known, self.unseen)
        for part in parts:
            n = len(part.groups)
            own = None if rows is None else rows[(rows >= start) & (rows < start + n)] - start
            for places, some in part.passes(layer, own):
                yield places + start, some
            start += n

    def whole(self, layer: int | None = None) -> LabelledActivations:
        """Load both."""
        activations = torch.cat([part.whole(layer).activations for part in (self.known, self.unseen)])
        return LabelledActivations(activations, self.positive, self.negative, self.groups)

    def sample(self) -> LabelledActivations:
        """Load both."""
        return self.whole()
