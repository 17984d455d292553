"""Direction that tokens of positive texts use and tokens of negative texts do not.

A mean over a text's tokens forgets how they are spread. Here a text is the subspace that its tokens span (their first few
principal directions), and a concept is the unit vector v with the greatest difference between the classes in the mean
squared length of its projection onto these subspaces: the top eigenvector of mean(B^T B | positive) -
mean(B^T B | negative), with the rows of B an orthonormal basis of a text's subspace.

A subspace has no sign and no scale: a token that is twice as long counts the same, which makes the direction indifferent to
long texts and large tokens, and its sign must be taken from the activations.
"""

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from amygdala_tl.directions.data import Estimate, LabelledActivations
from amygdala_tl.directions.pca import principal_components
from amygdala_tl.directions.statistics import statistics_of
from amygdala_tl.errors import FitError


def subspace_directions(bases: Float[Tensor, "text layer component d_model"], data: LabelledActivations) -> Estimate:
    """Top eigenvector of the difference of the classes' mean projectors, of every concept at every layer, unit length.

    Memory is one d_model x d_model matrix at a time, time d_model^3 a concept and layer (50 ms at d_model 576). Every concept
    must have a text in each class. A vector is zero where no direction is more frequent in the positive texts.

    Args:
        bases: orthonormal rows that span each text's tokens (`token_basis`); rows may be zero where a text is too short.
        data: labels, and the activations that give the sign: positives' mean score is the larger one.

    Raises:
        FitError: there are not as many bases as texts, or their layers or d_model are not those of the activations.
    """
    n_texts, n_layers, n_components, d_model = bases.shape
    if (n_texts, n_layers, d_model) != tuple(data.activations.shape):
        raise FitError(
            "token subspaces and activations do not belong together",
            got=f"bases {list(bases.shape)} [text, layer, component, d_model]",
            need=f"activations' {list(data.activations.shape)} [text, layer, d_model]",
            remedy="capture both in one run",
        )
    statistics = statistics_of(data, second_moments=False)
    weights = data.positive / statistics.n_positive - data.negative / statistics.n_negative
    n_concepts = weights.shape[1]
    vectors = torch.zeros_like(statistics.difference)
    largest = torch.zeros(n_concepts, n_layers)
    for layer in range(n_layers):
        rows = rearrange(bases[:, layer].float(), "text component d_model -> (text component) d_model")
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


def token_basis(
    tokens: Float[Tensor, "token d_model"],
    mask: Bool[Tensor, " token"],
    k: int,
    origin: Float[Tensor, " d_model"] | None = None,
) -> Float[Tensor, "{k} d_model"]:
    """Orthonormal basis of the first k principal directions of a text's tokens about `origin`, largest first.

    Args:
        tokens: residuals of one text at one layer.
        mask: which of them are read (the text's own ones that are no attention sinks).
        k: rows of the basis; those beyond the number of independent tokens are zero.
        origin: what all texts share, such as the mean token of the corpus; 0 if None. It should be given: a common mean m
            is every text's first direction, a concept s only tilts it, and the top eigenvector comes out as
            (m + s)/sqrt(2) instead of s. It is not the text's own mean, which carries the concept.
    """
    kept = tokens[mask].float()
    if origin is not None:
        kept = kept - origin
    basis = kept.new_zeros(k, tokens.shape[1])
    if len(kept):
        _, components = principal_components(kept, k)
        basis[: len(components)] = components
    return basis
