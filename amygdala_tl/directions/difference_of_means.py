"""Difference of class means, the plain Contrastive Activation Addition recipe.

Source: Rimsky et al. 2023, "Steering Llama 2 via Contrastive Activation Addition", arXiv:2312.06681. On paired data it is the
mean of the pairs' differences. The classes may also differ in size.
"""

from jaxtyping import Int
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.estimators import estimator
from amygdala_tl.directions.statistics import Parts, Statistics, gather


@estimator
def mean(data: LabelledActivations) -> Estimate:
    """Compute mean(positive) - mean(negative) of every concept at every layer, in the units of the activations.

    `mean(positive, negative)` takes two tensors and returns unit directions [layer, d_model]; see `estimator`.
    Every concept needs a text in each class; otherwise its vectors are NaN.
    """
    return mean_streamed(lambda: [data], data.groups)[0]


def mean_streamed(parts: Parts, groups: Int[Tensor, " text"]) -> tuple[Estimate, Statistics]:
    """Compute the same from texts in parts, in one pass, and return the statistics too. `groups` is not used."""
    statistics = gather(parts(), second_moments=False)
    return Estimate(statistics.difference), statistics
