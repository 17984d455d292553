"""Scores of texts beside the labels that judge them."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ScoredTexts:
    """Scores of texts that the directions were not fitted on, with labels.

    Attributes:
        scores: higher for texts that carry the concept; NaN for a text without a score.
        positive, negative: labels; texts that are neither do not count.
        groups: equal for texts that are not independent.
    """

    scores: Float[Tensor, "text concept"]
    positive: Bool[Tensor, "text concept"]
    negative: Bool[Tensor, "text concept"]
    groups: Int[Tensor, " text"]

    def without_unscored(self) -> "ScoredTexts":
        """Convert scores to float64 with 0 for NaN, and take the texts with NaN out of the labels."""
        scored = ~self.scores.isnan()
        values = self.scores.double().nan_to_num()
        return ScoredTexts(values, self.positive & scored, self.negative & scored, self.groups)
