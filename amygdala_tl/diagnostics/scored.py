"""Scores of texts beside the labels that judge them."""

import math
from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor

CROSS_FITTED = math.sqrt(2.0)
"""How much larger the errors of cross-fitted scores are than those of fixed scores.

A score is a sum over the texts that made its direction, and these texts are scored in their turn by directions that the first one
makes: the same product of two texts counts twice. Twice as many equal terms have twice the variance of as many independent ones.
In simulated corpora without signal the standard deviation of z is 1.3 to 1.5 without this, and with signal plain 95% intervals
contain the AUROC of the direction from all texts in 80% to 89% of cases (`benchmarks/diagnostics.py --cross-fitting`).
"""


@dataclass(frozen=True, slots=True)
class ScoredTexts:
    """Scores of texts that the directions were not fitted on, with labels.

    Attributes:
        scores: higher for texts that carry the concept; NaN for a text without a score.
        positive, negative: labels; texts that are neither do not count.
        groups: equal for texts that are not independent.
        cross_fitted: whether the texts themselves made the directions, fold by fold.
    """

    scores: Float[Tensor, "text concept"]
    positive: Bool[Tensor, "text concept"]
    negative: Bool[Tensor, "text concept"]
    groups: Int[Tensor, " text"]
    cross_fitted: bool = False

    @property
    def widening(self) -> float:
        """How much wider errors are than those of scores by directions that nothing is known of: see `CROSS_FITTED`."""
        return CROSS_FITTED if self.cross_fitted else 1.0

    def without_unscored(self) -> "ScoredTexts":
        """Convert scores to float64 with 0 for NaN, and take the texts with NaN out of the labels."""
        scored = ~self.scores.isnan()
        values = self.scores.double().nan_to_num()
        return replace(self, scores=values, positive=self.positive & scored, negative=self.negative & scored)
