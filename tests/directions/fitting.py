"""Labelled texts, and unit directions of an estimator, for tests of the estimators' algebra."""

import torch

from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.estimators import check_classes, unit_directions


def fit_directions(estimator, data, concepts):
    """Unit directions of every concept, and the parameters that the estimator chose."""
    check_classes(data.positive, data.negative, concepts)
    estimate = estimator(data)
    return unit_directions(estimate.vectors, concepts), estimate.parameters


def ungrouped(activations, positive, negative):
    """Labelled activations with every text in a group of its own."""
    return LabelledActivations(activations, positive, negative, torch.arange(len(activations)))
