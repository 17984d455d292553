"""Directions of concepts: estimators and denoisers, pure functions on tensors that see neither a model nor a file.

    from amygdala_tl.directions import neutral_pca, whitened

    removal = neutral_pca(neutral)                                                   # neutral [text, layer, d_model]
    directions = whitened(removal.apply(positive), removal.apply(negative))          # unit rows [layer, d_model]

Every estimator also takes `LabelledActivations` of many concepts and returns an `Estimate`.
"""

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.denoise.chain import DENOISERS
from amygdala_tl.directions.denoise.grand_mean import grand_mean
from amygdala_tl.directions.denoise.massive import massive
from amygdala_tl.directions.denoise.neutral_pca import neutral_pca
from amygdala_tl.directions.denoise.removal import Removal
from amygdala_tl.directions.denoise.topic import topic
from amygdala_tl.directions.difference_of_means import mean
from amygdala_tl.directions.erasure import Eraser, Erasure
from amygdala_tl.directions.estimators import estimator
from amygdala_tl.directions.linear_regression import linear
from amygdala_tl.directions.logistic_regression import logistic
from amygdala_tl.directions.method import ESTIMATORS
from amygdala_tl.directions.pair_pca import pca
from amygdala_tl.directions.partial_whitening import half_whitened, quarter_whitened
from amygdala_tl.directions.sparse_logistic import logistic_l1
from amygdala_tl.directions.token_subspaces import subspace
from amygdala_tl.directions.whitening import joint, whitened

__all__ = [
    "DENOISERS",
    "ESTIMATORS",
    "Eraser",
    "Erasure",
    "Estimate",
    "LabelledActivations",
    "Removal",
    "estimator",
    "grand_mean",
    "half_whitened",
    "joint",
    "linear",
    "logistic",
    "logistic_l1",
    "massive",
    "mean",
    "neutral_pca",
    "pca",
    "quarter_whitened",
    "subspace",
    "topic",
    "whitened",
]
