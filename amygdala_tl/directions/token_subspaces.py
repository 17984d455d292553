"""Direction that tokens of positive texts use and tokens of negative texts do not.

A mean over a text's tokens forgets how they are spread. Here a text is the subspace that its tokens span (their first few
principal directions), and a concept is the unit vector v with the greatest difference between the classes in the mean
squared length of its projection onto these subspaces: the top eigenvector of mean(B^T B | positive) -
mean(B^T B | negative), with the rows of B an orthonormal basis of a text's subspace.

The subspaces are those of the tokens about the mean of all texts. About zero, the mean m that all texts share would be every
text's first direction, a concept s would only tilt it, and the top eigenvector would come out as (m + s)/sqrt(2) instead of s;
about a text's own mean, what the whole text carries would be lost.

A subspace has no sign and no scale: a token that is twice as long counts the same, which makes the direction indifferent to
long texts and large tokens, and its sign must be taken from the activations.
"""

import torch
from einops import einsum, rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.statistics import statistics_of
from amygdala_tl.errors import FitError

NEGLIGIBLE = 1e-10
"""Square of a length, beside the text's largest, below which a direction is rounding error."""


def subspace(data: LabelledActivations) -> Estimate:
    """Top eigenvector of the difference of the classes' mean projectors, of every concept at every layer, unit length.

    A text's subspace has as many dimensions as there are components in `data.spread`. Memory is one d_model x d_model matrix
    at a time, time d_model^3 a concept and layer (50 ms at d_model 576). Every concept must have a text in each class. A
    vector is zero where no direction is more frequent in the positive texts.

    Args:
        data: with `spread`; `activations` are the means of the same tokens, and give the sign: positives' mean score is the
            larger one.

    Raises:
        FitError: there is no spread.
    """
    if data.spread is None:
        raise FitError(
            "the subspace estimator needs the directions of each text's tokens",
            remedy="capture with --token-components 4",
        )
    statistics = statistics_of(data, second_moments=False)
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
            # Eigenvalues lie in [-1, 1]; one at rounding error says that the classes' subspaces are the same.
            vectors[concept, layer] = torch.where(values[-1] > 1e-6, sign * direction, 0.0)
            largest[concept, layer] = values[-1]
    per_layer = reduce(largest, "concept layer -> layer", "mean").tolist()
    return Estimate(vectors, {"components": n_components, "eigenvalue": [round(value, 4) for value in per_layer]})


def subspace_bases(
    spread: Float[Tensor, "text component d_model"], shift: Float[Tensor, "text d_model"]
) -> Float[Tensor, "text component d_model"]:
    """Orthonormal bases of the leading principal directions of each text's tokens about an origin, at one layer.

    The tokens' second moment about the origin is spread^T spread + shift^T shift. Rows beyond its rank are zero.

    Args:
        spread: principal directions about the text's own mean, as long as the tokens' deviation along them.
        shift: the text's mean minus the origin.
    """
    factor = torch.cat([spread.float(), rearrange(shift.float(), "text d_model -> text 1 d_model")], dim=1).double()
    products = einsum(factor, factor, "text row d_model, text other d_model -> text row other")
    values, vectors = torch.linalg.eigh(products)
    values, vectors = values.flip(-1)[:, : spread.shape[1]], vectors.flip(-1)[:, :, : spread.shape[1]]
    some = values > NEGLIGIBLE * values[:, :1]
    scale = torch.where(some, values, 1.0).rsqrt() * some
    bases: Tensor = einsum(
        vectors * rearrange(scale, "text component -> text 1 component"),
        factor,
        "text row component, text row d_model -> text component d_model",
    )
    return bases.float()
