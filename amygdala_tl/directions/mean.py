"""Difference of class means, the plain Contrastive Activation Addition recipe.

Source: Rimsky et al. 2023, "Steering Llama 2 via Contrastive Activation Addition", arXiv:2312.06681. On paired data it
is the mean of the pairs' differences; here the classes may have any sizes.
"""

from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor


def mean_difference(
    activations: Float[Tensor, "text layer d_model"],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
) -> Float[Tensor, "concept layer d_model"]:
    """mean(positive) - mean(negative) of every concept at every layer, in the units of `activations`, not normalised.

    Every concept must have at least one text in each class; otherwise its rows are NaN.
    """
    return _class_means(activations, positive) - _class_means(activations, negative)


def _class_means(
    activations: Float[Tensor, "text layer d_model"], members: Bool[Tensor, "text concept"]
) -> Float[Tensor, "concept layer d_model"]:
    weights = members.to(activations.dtype)
    totals = einsum(weights, activations, "text concept, text layer d_model -> concept layer d_model")
    return totals / rearrange(reduce(weights, "text concept -> concept", "sum"), "concept -> concept 1 1")
