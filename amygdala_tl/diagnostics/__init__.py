"""Evidence for and against a readout: pure functions on tensors, with intervals and null models beside every number."""

from amygdala_tl.diagnostics.baselines import bag_of_words_scores
from amygdala_tl.diagnostics.comparing import ReadoutComparison
from amygdala_tl.diagnostics.cross_fit import cross_fitted_scores
from amygdala_tl.diagnostics.crosstalk import cross_talk
from amygdala_tl.diagnostics.intervals import auroc_interval, average_precision_interval
from amygdala_tl.diagnostics.nulls import holm, permutation_null, random_direction_null
from amygdala_tl.diagnostics.records import CrossTalk, Diagnosis, Evaluation, Interval, LayerSeparation
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.diagnostics.separation import best_layers, layer_separation
from amygdala_tl.diagnostics.thresholds import Thresholds, alert_thresholds

__all__ = [
    "CrossTalk", "Diagnosis", "Evaluation", "Interval", "LayerSeparation", "ReadoutComparison", "ScoredTexts",
    "Thresholds", "alert_thresholds",
    "auroc_interval", "average_precision_interval", "bag_of_words_scores", "best_layers", "cross_fitted_scores",
    "cross_talk", "holm", "layer_separation", "permutation_null", "random_direction_null",
]  # fmt: skip
