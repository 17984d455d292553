"""Activations and labels to directions: pure functions on tensors, one estimator a file, behind one callable type.

Nothing here sees a model or a file.
"""

from amygdala_tl.directions.data import Estimate, LabelledActivations, ungrouped
from amygdala_tl.directions.estimator import (
    ESTIMATORS,
    STREAMED,
    Estimator,
    check_classes,
    fit_directions,
    unit_directions,
)

__all__ = [
    "ESTIMATORS",
    "STREAMED",
    "Estimate",
    "Estimator",
    "LabelledActivations",
    "check_classes",
    "fit_directions",
    "ungrouped",
    "unit_directions",
]
