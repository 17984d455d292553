"""Difference of class means, the plain Contrastive Activation Addition recipe.

Source: Rimsky et al. 2023, "Steering Llama 2 via Contrastive Activation Addition", arXiv:2312.06681. On paired data it
is the mean of the pairs' differences; here the classes may have any sizes.
"""

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.statistics import Statistics, statistics_of


def mean(data: LabelledActivations) -> Estimate:
    """mean(positive) - mean(negative) of every concept at every layer, in the units of the activations.

    Every concept must have a text in each class; its vectors are NaN otherwise.
    """
    return mean_from_statistics(statistics_of(data, second_moments=False))


def mean_from_statistics(statistics: Statistics) -> Estimate:
    """The same from statistics that were gathered elsewhere."""
    return Estimate(statistics.difference)
