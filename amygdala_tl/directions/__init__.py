"""Activations and labels to directions: pure functions on tensors, one estimator a file, behind one callable type.

Nothing here sees a model or a file.
"""

from amygdala_tl.directions.estimator import ESTIMATORS, Estimator, fit_directions
from amygdala_tl.directions.mean import mean_difference

__all__ = ["ESTIMATORS", "Estimator", "fit_directions", "mean_difference"]
