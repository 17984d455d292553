"""Direction that tokens of positive texts use and tokens of negative texts do not.

A mean over a text's tokens ignores their spread. Here a text is the subspace that its tokens span (their first few principal
directions). A concept's direction is the unit vector v with the greatest difference between the classes in the mean squared
length of its projection onto these subspaces. That is the top eigenvector of mean(B^T B | positive) - mean(B^T B | negative),
where the rows of B are an orthonormal basis of a text's subspace.

The subspaces hold the tokens relative to the mean of all texts. Relative to zero, the mean m of all texts would be every text's
first direction, a concept s would only tilt it, and the top eigenvector would be (m + s)/sqrt(2) instead of s. Relative to a
text's own mean, a signal in the whole text would be lost.

A subspace has neither sign nor scale. A token of twice the length counts the same, which makes the direction insensitive to long
texts and large tokens. The activations give the sign.
"""

import torch
from einops import einsum, rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.estimators import estimator
from amygdala_tl.directions.statistics import gather
from amygdala_tl.errors import FitError

NEGLIGIBLE = 1e-10
"""Share of the text's largest squared length below which a direction is rounding error."""


@estimator
def subspace(data: LabelledActivations) -> Estimate:
    """Compute the unit top eigenvector of the difference of the classes' mean projectors, for every concept at every layer.

    `subspace(positive, negative, spread=(..., ...))` takes tensors and returns unit directions [layer, d_model]; see `estimator`.

    A text's subspace has as many dimensions as there are components in `data.spread`. Memory holds one d_model x d_model matrix
    at a time; time is d_model^3 for each concept and layer (50 ms at d_model 576). Every concept needs a text in each class. A
    vector is zero if no direction is more frequent in the positive texts.

    Args:
        data: labelled activations with `spread`. `activations` are the means of the same tokens; the positives' mean score along
            the direction is larger than the negatives'.

    Raises:
        FitError: there is no spread.
    """
    if data.spread is None:
        what = "the subspace estimator needs the principal directions of each text's tokens"
        need = "spread [text, layer, component, d_model]"
        raise FitError(what, need=need, remedy="capture with token_components=4")
    statistics = gather([data], second_moments=False)
    weights = data.positive / statistics.n_positive - data.negative / statistics.n_negative
    n_concepts, n_components = weights.shape[1], data.spread.shape[2]
    vectors = torch.zeros_like(statistics.difference)
    largest = torch.zeros(n_concepts, data.spread.shape[1])
    for layer in range(data.spread.shape[1]):
        bases = subspace_bases(data.spread[:, layer], data.activations[:, layer] - statistics.mean[layer])
        rows = rearrange(bases, "text component d_model -> (text component) d_model")
        for concept in range(n_concepts):
            weight = repeat(weights[:, concept], "text -> (text component) 1", component=n_components)
            labelled = weight[:, 0] != 0
            difference = rows[labelled].T @ (weight[labelled] * rows[labelled])
            values, eigenvectors = torch.linalg.eigh(difference)
            direction = eigenvectors[:, -1]
            sign = (direction @ statistics.difference[concept, layer]).sign()
            # Eigenvalues lie in [-1, 1]; one at rounding error means that the classes' subspaces are the same.
            vectors[concept, layer] = torch.where(values[-1] > 1e-6, sign * direction, 0.0)
            largest[concept, layer] = values[-1]
    per_layer = reduce(largest, "concept layer -> layer", "mean").tolist()
    return Estimate(vectors, {"components": n_components, "eigenvalue": [round(value, 4) for value in per_layer]})


def subspace_bases(
    spread: Float[Tensor, "text component d_model"], shift: Float[Tensor, "text d_model"]
) -> Float[Tensor, "text component d_model"]:
    """Compute orthonormal bases of the leading principal directions of each text's tokens about an origin, at one layer.

    The tokens' second moment about the origin is spread^T spread + shift^T shift. Rows beyond its rank are zero.

    Args:
        spread: principal directions about the text's own mean, each as long as the tokens' deviation along it.
        shift: the text's mean minus the origin.
    """
    factor = torch.cat([spread.float(), rearrange(shift.float(), "text d_model -> text 1 d_model")], dim=1).double()
    products = einsum(factor, factor, "text row d_model, text other d_model -> text row other")
    values, vectors = torch.linalg.eigh(products)
    values, vectors = values.flip(-1)[:, : spread.shape[1]], vectors.flip(-1)[:, :, : spread.shape[1]]
    some = values > NEGLIGIBLE * values[:, :1]
    scale = torch.where(some, values, 1.0).rsqrt() * some
    scaled = vectors * rearrange(scale, "text component -> text 1 component")
    bases: Tensor = einsum(scaled, factor, "text row component, text row d_model -> text component d_model").float()
    return bases
