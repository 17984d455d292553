"""Is an effect more than what random directions of the same length do?

Twenty random directions cannot give a small p-value on their own, and a check of 16 concepts at 4 layers and 4 doses is 256
tests. So there is one test a concept, of its largest effect: effects are standardised by the random directions of their own
look (concept, layer, dose), and the largest ones of random directions with equally many looks make one null:

    t of an effect             (effect - mean of the look's random) / (deviation of the look's random * sqrt(1 + 1/R))
    t of a random direction    the same against the other R - 1 of its look
    p                          (1 + how many random t are at least t) / (1 + how many there are), where a random direction's t
                               is the largest over layers and doses: several looks are several chances (Westfall & Young 1993)

A random direction in the place of a concept's gets t of the same distribution, heavy tails of broken doses included. Looks are
few tests: effects are nearly linear in the dose, and directions of neighbouring layers do much the same. Random directions of
two layers are independent, so that their largest t is rather too large, and p too. Concepts are many, and Holm's correction is
for those. It leaves about 1/R for the smallest p: R = 20 is the least that can be significant at 5% (`SteeringPlan.least_p`).
Additions have two kinds of random directions, so 10 of each kind are enough; ablations have one kind, and need 20.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.diagnostics.intervals import student_quantile
from amygdala_tl.diagnostics.nulls import holm


def standardised(
    effect: Float[Tensor, "*cells"], null: Float[Tensor, "*cells null"]
) -> tuple[Float[Tensor, "*cells"], Float[Tensor, "*cells null"]]:
    """t of every effect against its cell's null effects, and t of every null effect against the others of its cell.

    Args:
        effect: a number a cell.
        null: the same measure of at least three control directions a cell.
    """
    wide, n = null.double(), null.shape[-1]
    t = _t(effect.double(), wide.mean(dim=-1), wide.std(dim=-1), n)
    total = wide.sum(dim=-1, keepdim=True)
    mean_of_others = (total - wide) / (n - 1)
    squares = (wide - wide.mean(dim=-1, keepdim=True)).square().sum(dim=-1, keepdim=True)
    # Without x the sum of squares about the mean falls by (x - mean)^2 n / (n - 1).
    left = squares - (wide - wide.mean(dim=-1, keepdim=True)).square() * n / (n - 1)
    deviation_of_others = (left.clamp_min(0.0) / (n - 2)).sqrt()
    return t, _t(wide, mean_of_others, deviation_of_others, n - 1)


def pooled_p_values(
    effect: Float[Tensor, "*cells look"], null: Float[Tensor, "*cells look null"]
) -> tuple[Float[Tensor, "*cells look"], Float[Tensor, "*cells look"]]:
    """(t, one-sided p) of every effect against the standardised null of all cells; NaN where the effect is NaN.

    p is corrected for the number of looks, not for that of the cells. A control direction has one number for all looks of a cell.
    """
    t, t_null = standardised(effect, null)
    pool = t_null.nan_to_num(nan=-torch.inf).amax(dim=-2)
    pool = pool[pool.isfinite()].sort().values
    if len(pool) == 0:
        return t, torch.full_like(t, torch.nan)
    at_least = len(pool) - torch.searchsorted(pool, t.nan_to_num(nan=-torch.inf).contiguous())
    p = (1.0 + at_least.double()) / (1.0 + len(pool))
    return t, p.masked_fill(t.isnan(), torch.nan)


def holm_over_cells(p_values: Float[Tensor, "*cells look"]) -> Float[Tensor, "*cells look"]:
    """p-values corrected for the number of cells: Holm's for each cell's smallest, the cell's other looks in proportion."""
    least = p_values.nan_to_num(nan=torch.inf).amin(dim=-1, keepdim=True)
    least = least.masked_fill(least.isinf(), torch.nan)
    factor = holm(least.flatten()).reshape(least.shape) / least
    corrected: Tensor = (p_values * factor).clamp_max(1.0)
    return corrected


def bootstrap_interval(
    effects: Float[Tensor, "*cells prompt"], generator: torch.Generator, replicates: int = 500
) -> tuple[Float[Tensor, "*cells"], Float[Tensor, "*cells"]]:
    """95% interval of the mean over prompts: the mean -/+ Student's quantile times the bootstrap's standard error.

    All cells share the drawn prompts. Percentiles of a dozen prompts would be too narrow.
    """
    n = effects.shape[-1]
    drawn = torch.randint(n, (replicates, n), generator=generator)
    weights = torch.zeros(replicates, n, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(replicates, n, dtype=torch.float64)
    )
    wide = effects.double()
    spread = (wide @ (weights / n).T).std(dim=-1) * (n / max(1, n - 1)) ** 0.5
    margin = spread * student_quantile(torch.tensor([n - 1.0], dtype=torch.float64))[0]
    mean = wide.mean(dim=-1)
    return mean - margin, mean + margin


def spearman(doses: Float[Tensor, " dose"], effects: Float[Tensor, "*cells dose"]) -> Float[Tensor, "*cells"]:
    """Rank correlation of dose and effect, -1 to 1: 1 where every larger dose has a larger effect."""
    ranks, effect_ranks = _ranks(doses.double()), _ranks(effects.double())
    x = ranks - ranks.mean()
    y = effect_ranks - effect_ranks.mean(dim=-1, keepdim=True)
    result: Tensor = (x * y).sum(dim=-1) / (x.square().sum() * y.square().sum(dim=-1)).sqrt()
    return result


def slope(doses: Float[Tensor, " dose"], effects: Float[Tensor, "*cells dose"]) -> Float[Tensor, "*cells"]:
    """Effect a unit of dose, by least squares through the origin."""
    result: Tensor = (effects.double() @ doses.double()) / doses.double().square().sum()
    return result


def _t(value: Tensor, mean: Tensor, deviation: Tensor, n: int) -> Tensor:
    result: Tensor = (value - mean) / (deviation * (1.0 + 1.0 / n) ** 0.5)
    return result


def _ranks(values: Float[Tensor, "*cells dose"]) -> Float[Tensor, "*cells dose"]:
    """Ranks from 1, ties at their mean."""
    column, row = rearrange(values, "... a -> ... a 1"), rearrange(values, "... a -> ... 1 a")
    ranks: Tensor = (row < column).sum(dim=-1).double() + ((row == column).sum(dim=-1).double() + 1) / 2
    return ranks
