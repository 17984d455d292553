"""What texts of one day or scene share is their topic: project the directions in which groups differ out.

Notes of a day tell of the same things, and a concept that is frequent on some days picks their topics up. The directions
are the principal components of the group means, weighted by the groups' sizes, of what the labels do not explain: the
activations are first regressed on the labels of all concepts together, so that an emotion that coincides with a day is
not taken for its topic (nor is the day's topic then removed: the data cannot tell the two apart).

Group means differ by chance too: a mean of n texts has the covariance W/n, with W the one within groups. In the sum of squares
between G groups chance makes up (G - 1) tr(W), which is taken off it as in an analysis of variance; in the sum of squares along
a component of which w = v^T W v lies within groups, tr(W) + (G - 1) w, which is the eigenvalue that a direction without any
topic gets, in spaces of more dimensions than groups as of fewer. A component is removed only where its sum of squares is above
(sqrt(tr W) + sqrt((G - 1) w))^2, the largest that chance gives (Chevet's inequality for Gaussian matrices; for equal variances
the edge of Marchenko and Pastur). So where groups do not differ, nothing is removed.
"""

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.denoise.removal import Removal, check_share, components_for, orthonormal
from amygdala_tl.directions.pair_pca import principal_components
from amygdala_tl.errors import FitError


def topic(data: LabelledActivations, share: float = 0.5) -> Removal:
    """Fewest directions that hold at least `share` of the variance between groups that chance does not explain, at each layer.

    Args:
        data: activations, labels and groups; only groups of two or more texts are looked at.
        share: of the variance between groups, between 0 and 1.

    Returns:
        The directions; parameters say how many there are at each layer, of how many groups, which share they reach (less than
        asked for where the rest cannot be told from chance), and which part of all variance lies between groups.

    Raises:
        FitError: fewer than two groups have two texts or more.
        InputError: `share` is not between 0 and 1.
    """
    check_share(share)
    _, group, sizes = torch.unique(data.groups, return_inverse=True, return_counts=True)
    shared = sizes[group] >= 2
    _, group, sizes = torch.unique(data.groups[shared], return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise FitError(
            "there are no topics to compare",
            label="topic",
            got=f"{len(sizes)} groups of two or more texts",
            need="2 or more",
            remedy="give texts of one day or scene the same group, or leave topic out of --denoise",
        )
    bases, reached, between = [], [], []
    for layer in range(data.activations.shape[1]):
        values = without_labels(data.activations[:, layer].float(), data.positive, data.negative)[shared]
        values = values - values.mean(dim=0)
        means = group_means(values, group, sizes)
        squares, components = principal_components(rearrange(sizes.float().sqrt(), "group -> group 1") * means)
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
    return Removal(
        tuple(bases),
        {
            "share": share,
            "groups": len(sizes),
            "components": [len(basis) for basis in bases],
            "share_reached": [round(value, 4) for value in reached],
            "between_groups": [round(value, 4) for value in between],
        },
    )


def without_labels(
    values: Float[Tensor, "text d_model"],
    positive: Bool[Tensor, "text concept"],
    negative: Bool[Tensor, "text concept"],
) -> Float[Tensor, "text d_model"]:
    """Residual of the least-squares fit of `values` on a constant and all concepts' labels (1, -1, or 0 for neither)."""
    labels = positive.float() - negative.float()
    labels = labels - reduce(labels, "text concept -> 1 concept", "mean")
    centred = values - values.mean(dim=0)
    # The pseudo-inverse also serves where a concept is constant or two concepts always come together.
    residual: Tensor = centred - labels @ (torch.linalg.pinv(labels) @ centred)
    return residual


def group_means(
    values: Float[Tensor, "text d_model"], group: Int[Tensor, " text"], sizes: Int[Tensor, " group"]
) -> Float[Tensor, "group d_model"]:
    """Mean of each group's texts; `group` numbers them from 0."""
    sums = values.new_zeros(len(sizes), values.shape[1]).index_add_(0, group, values)
    return sums / rearrange(sizes, "group -> group 1")
