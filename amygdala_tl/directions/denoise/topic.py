"""Topic of texts of one day or scene: the directions along which groups differ, which are projected out.

Notes of one day share their subject, and a concept that is frequent on some days picks it up. The directions are the principal
components of the group means, weighted by group size. The activations are first regressed on the labels of all concepts
together, so that an emotion that coincides with a day is not mistaken for its topic. (The day's topic then stays as well: the
data cannot separate the two.)

Group means also differ by chance: a mean of n texts has the covariance W/n, with W the covariance within groups. Chance
contributes (G - 1) tr(W) to the sum of squares between G groups, which is subtracted as in an analysis of variance. Along a
component with w = v^T W v within groups it contributes tr(W) + (G - 1) w, the eigenvalue of a direction without any topic,
whether there are more dimensions than groups or fewer. A component is removed only if its sum of squares exceeds (sqrt(tr W) +
sqrt((G - 1) w))^2, the largest that chance gives (Chevet's inequality for Gaussian matrices; for equal variances the edge of
Marchenko and Pastur). If groups do not differ, nothing is removed.
"""

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.directions.denoise.removal import Removal, check_share, components_for, orthonormal
from amygdala_tl.directions.pair_pca import principal_components
from amygdala_tl.errors import FitError


def topic(
    activations: Float[Tensor, "text layer d_model"],
    groups: Int[Tensor, " text"],
    positive: Bool[Tensor, "text concept"] | None = None,
    negative: Bool[Tensor, "text concept"] | None = None,
    *,
    share: float = 0.5,
) -> Removal:
    """Find the fewest directions with at least `share` of the variance between groups that chance does not explain.

    Args:
        activations: of texts.
        groups: equal for texts of one day or scene; only groups of two or more texts count.
        positive, negative: labels, to keep concepts out of the topic; None if there are none.
        share: of the variance between groups, between 0 and 1.

    Returns:
        The directions at each layer. The parameters hold the number of directions and groups, the share that they reach (less
        than `share` if the rest may be chance), and the part of all variance that lies between groups.

    Raises:
        FitError: fewer than two groups have two texts or more.
        InputError: `share` is not between 0 and 1.
    """
    positive = groups.new_zeros(len(groups), 0, dtype=torch.bool) if positive is None else positive
    negative = torch.zeros_like(positive) if negative is None else negative
    check_share(share)
    _, group, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    shared = sizes[group] >= 2
    _, group, sizes = torch.unique(groups[shared], return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        what, got = "there are no topics to compare", f"{len(sizes)} groups of two or more texts"
        remedy = "give texts of one day or scene the same group, or leave topic out of denoise"
        raise FitError(what, label="topic", got=got, need="2 or more", remedy=remedy)
    bases, reached, between = [], [], []
    for layer in range(activations.shape[1]):
        values = without_labels(activations[:, layer].float(), positive, negative)[shared]
        values = values - values.mean(dim=0)
        weight = rearrange(sizes.float(), "group -> group 1")
        means = values.new_zeros(len(sizes), values.shape[1]).index_add_(0, group, values) / weight
        squares, components = principal_components(weight.sqrt() * means)
        residuals, freedom, others = values - means[group], len(values) - len(sizes), len(sizes) - 1
        trace = residuals.square().sum() / freedom
        within = reduce((residuals @ components.T).square(), "text component -> component", "sum") / freedom
        by_chance = (trace.sqrt() + (others * within).sqrt()).square()
        excess = (squares - trace - others * within).masked_fill(squares <= by_chance, 0.0)
        excess, order = excess.sort(descending=True, stable=True)
        total = float(squares.sum() - others * trace)
        n_components = min(components_for(excess, share, total), int((excess > 0.0).sum()))
        bases.append(orthonormal(components[order[:n_components]]))
        reached.append(min(1.0, float(excess[:n_components].sum()) / total) if total > 0.0 else 0.0)
        everything = float(values.square().sum())
        between.append(max(0.0, total) / everything if everything > 0.0 else 0.0)
    parameters = {
        "share": share,
        "groups": len(sizes),
        "components": [len(basis) for basis in bases],
        "share_reached": [round(value, 4) for value in reached],
        "between_groups": [round(value, 4) for value in between],
    }
    return Removal(tuple(bases), parameters)


def without_labels(
    values: Float[Tensor, "text d_model"],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
) -> Float[Tensor, "text d_model"]:
    """Compute the residual of a least-squares fit of `values` on a constant and all labels (1, -1, or 0 for neither)."""
    labels = positive.float() - negative.float()
    labels = labels - reduce(labels, "text concept -> 1 concept", "mean")
    centred = values - values.mean(dim=0)
    # The pseudo-inverse also serves where a concept is constant or two concepts always come together.
    residual: Tensor = centred - labels @ (torch.linalg.pinv(labels) @ centred)
    return residual
