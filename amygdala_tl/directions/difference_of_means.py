"""Difference of class means, the plain Contrastive Activation Addition recipe.

Source: Rimsky et al. 2023, "Steering Llama 2 via Contrastive Activation Addition", arXiv:2312.06681. On paired data it
is the mean of the pairs' differences; here the classes may have any sizes.
"""

from jaxtyping import Int
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.statistics import Parts, gather, statistics_of


def mean(data: LabelledActivations) -> Estimate:
    """mean(positive) - mean(negative) of every concept at every layer, in the units of the activations.

    Every concept must have a text in each class; its vectors are NaN otherwise.
    """
    return Estimate(statistics_of(data, second_moments=False).difference)


def mean_streamed(parts: Parts, groups: Int[Tensor, " text"]) -> Estimate:
    """The same of texts in parts, in one pass; `groups` does not matter here."""
    return Estimate(gather(parts(), second_moments=False).difference)
