"""Unit directions of an estimator, for tests of the estimators' algebra."""

from amygdala_tl.directions.estimator import check_classes, unit_directions


def fit_directions(estimator, data, concepts):
    """Unit directions of every concept, and the parameters that the estimator chose."""
    check_classes(data.positive, data.negative, concepts)
    estimate = estimator(data)
    return unit_directions(estimate.vectors, concepts), estimate.parameters
