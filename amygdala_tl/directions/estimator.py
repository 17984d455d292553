"""The one callable type of all estimators, their names on the command line, and the step from estimates to unit directions."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.directions.mean import mean_difference
from amygdala_tl.errors import FitError

Estimator = Callable[
    [Float[Tensor, "text layer d_model"], Bool[Tensor, "text concept"], Bool[Tensor, "text concept"]],
    Float[Tensor, "concept layer d_model"],
]
"""(activations, positive, negative) -> one vector a concept and layer, of any length.

`positive[t, c]` says that text t is an example of concept c, `negative[t, c]` that it is an example of its absence; a text
may be neither.
"""

ESTIMATORS: Mapping[str, Estimator] = {"mean": mean_difference}
"""`--aggregator` name -> estimator."""


def fit_directions(
    estimator: Estimator,
    activations: Float[Tensor, "text layer d_model"],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
    concepts: Sequence[str],
) -> Float[Tensor, "concept layer d_model"]:
    """Unit directions of every concept at every layer, float32.

    Raises:
        FitError: a class is empty, or an estimate is zero or not finite; names the concepts.
    """
    for members, name in ((positive, "positive"), (negative, "negative")):
        empty = [concept for concept, some in zip(concepts, members.any(dim=0).tolist(), strict=True) if not some]
        if empty:
            raise FitError(
                f"no {name} text", label=", ".join(empty), remedy="leave these concepts out, or label more texts"
            )
    estimates = estimator(activations.float(), positive, negative)
    norms = estimates.norm(dim=-1, keepdim=True)
    usable = (torch.isfinite(norms) & (norms > 0)).all(dim=1)[:, 0].tolist()
    if useless := [concept for concept, fine in zip(concepts, usable, strict=True) if not fine]:
        raise FitError(
            "the direction is zero or not finite",
            label=", ".join(useless),
            remedy="check that positive and negative texts differ, and that activations are finite",
        )
    directions: Tensor = estimates / norms
    return directions
