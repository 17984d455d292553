"""The one callable type of all estimators, their names on the command line, and the step from estimates to unit directions."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.linear_regression import linear
from amygdala_tl.directions.logistic_regression import logistic
from amygdala_tl.directions.sparse_logistic import logistic_l1
from amygdala_tl.directions.difference_of_means import mean, mean_streamed
from amygdala_tl.directions.pair_pca import pca
from amygdala_tl.directions.statistics import Parts
from amygdala_tl.directions.token_subspaces import subspace
from amygdala_tl.directions.whitening import whitened, whitened_streamed
from amygdala_tl.errors import FitError

Estimator = Callable[[LabelledActivations], Estimate]
"""Labelled activations -> one vector a concept and layer, with what was chosen on the way."""

ESTIMATORS: Mapping[str, Estimator] = {
    "mean": mean,
    "pca": pca,
    "linear": linear,
    "logistic": logistic,
    "logistic_l1": logistic_l1,
    "whitened": whitened,
    "subspace": subspace,
}
"""`--aggregator` name -> estimator."""

STREAMED: Mapping[str, Callable[[Parts, Tensor], Estimate]] = {"mean": mean_streamed, "whitened": whitened_streamed}
"""`--aggregator` name -> the same estimator of texts in parts, for those that need no more of a corpus than its moments.

The second argument is the group of every text, [text].
"""


def check_classes(
    positive: Bool[Tensor, "text concept"], negative: Bool[Tensor, "text concept"], concepts: Sequence[str]
) -> None:
    """Refuse labels in which a concept lacks a class.

    Raises:
        FitError: names the concepts.
    """
    for members, name in ((positive, "positive"), (negative, "negative")):
        empty = [concept for concept, some in zip(concepts, members.any(dim=0).tolist(), strict=True) if not some]
        if empty:
            raise FitError(
                f"no {name} text", label=", ".join(empty), remedy="leave these concepts out, or label more texts"
            )


def unit_directions(
    vectors: Float[Tensor, "concept layer d_model"], concepts: Sequence[str]
) -> Float[Tensor, "concept layer d_model"]:
    """The vectors at length 1, float32.

    Raises:
        FitError: a vector is zero or not finite; names the concepts.
    """
    norms = vectors.norm(dim=-1, keepdim=True)
    usable = (torch.isfinite(norms) & (norms > 0)).all(dim=1)[:, 0].tolist()
    if useless := [concept for concept, fine in zip(concepts, usable, strict=True) if not fine]:
        raise FitError(
            "the direction is zero or not finite",
            label=", ".join(useless),
            remedy="check that positive and negative texts differ, that activations are finite, "
            "and that no penalty is so strong that nothing is left",
        )
    directions: Tensor = (vectors / norms).float()
    return directions


def fit_directions(
    estimator: Estimator, data: LabelledActivations, concepts: Sequence[str]
) -> tuple[Float[Tensor, "concept layer d_model"], Mapping[str, object]]:
    """Unit directions of every concept at every layer, and what the estimator chose on the way.

    Raises:
        FitError: a class is empty, or a vector is zero or not finite; names the concepts.
    """
    check_classes(data.positive, data.negative, concepts)
    estimate = estimator(data)
    return unit_directions(estimate.vectors, concepts), estimate.parameters
