"""Principal components of neutral texts: variation without any emotion, which is projected out.

Source: Sofroniew et al. 2026, on emotion concepts in a language model. They project out the components that explain half of the
variance of neutral texts.
"""

from jaxtyping import Float
from torch import Tensor

from amygdala_tl.directions.denoise.removal import Removal, check_share, components_for, orthonormal
from amygdala_tl.directions.pair_pca import principal_components
from amygdala_tl.errors import FitError

FEWEST_NEUTRAL = 10


def neutral_pca(neutral: Float[Tensor, "neutral layer d_model"], share: float = 0.5) -> Removal:
    """Find the fewest principal components that explain at least `share` of the variance of neutral texts, at each layer.

    Args:
        neutral: activations of texts without any tag, at the same read position as the labelled ones.
        share: of variance, between 0 and 1.

    Returns:
        The components. The parameters hold their number and the share that they reach, at each layer.

    Raises:
        FitError: there are fewer than 10 neutral texts.
        InputError: `share` is not between 0 and 1.
    """
    check_share(share)
    if len(neutral) < FEWEST_NEUTRAL:
        what, got = "too few neutral texts for principal components", f"{len(neutral)} neutral texts"
        need, remedy = f"{FEWEST_NEUTRAL} or more", "add texts without a tag line, or leave neutral-pca out of denoise"
        raise FitError(what, label="neutral-pca", got=got, need=need, remedy=remedy)
    bases, reached = [], []
    for layer in range(neutral.shape[1]):
        values = neutral[:, layer].float()
        variances, components = principal_components(values - values.mean(dim=0))
        total = float(variances.sum())
        n_components = components_for(variances, share, total)
        bases.append(orthonormal(components[:n_components]))
        reached.append(float(variances[:n_components].sum()) / total if total > 0.0 else 0.0)
    parameters = {
        "share": share,
        "neutral_texts": len(neutral),
        "components": [len(basis) for basis in bases],
        "share_reached": [round(value, 4) for value in reached],
    }
    return Removal(tuple(bases), parameters)
