"""p-values, intervals and dose-response against naive re-implementations and against what they promise."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from amygdala_tl.steering.significance import (
    bootstrap_interval,
    holm_over_cells,
    pooled_p_values,
    slope,
    spearman,
    standardised,
)


def test_a_null_effect_is_standardised_by_the_others_of_its_cell():
    null = torch.randn(3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, t_null = standardised(torch.zeros(3), null)
    for cell in range(3):
        for place in range(7):
            others = torch.cat([null[cell, :place], null[cell, place + 1 :]])
            expected, _ = standardised(null[cell, place], others)
            assert float(t_null[cell, place]) == pytest.approx(float(expected), rel=1e-9)


@given(st.floats(0.1, 100), st.floats(-50, 50), st.integers(0, 1000))
def test_scale_and_shift_of_a_cell_change_no_p_value(scale, shift, seed):
    generator = torch.Generator().manual_seed(seed)
    effect, null = (torch.randn(*shape, generator=generator).double() for shape in ((4, 2), (4, 2, 20)))
    factor = torch.tensor([scale, 1, 1, 1]).double()[:, None]
    moved = pooled_p_values(effect * factor + shift, null * factor[..., None] + shift)[1]
    torch.testing.assert_close(moved, pooled_p_values(effect, null)[1], atol=0.03, rtol=0)


@pytest.mark.parametrize("tail", ["normal", "student"])
@pytest.mark.parametrize("looks", ["alike", "unlike", "alike within a layer"])
def test_null_effects_are_called_significant_no_more_often_than_the_level(tail, looks):
    false_alarms, families = 0, 200
    for seed in range(families):
        generator = torch.Generator().manual_seed(seed)
        draw = torch.randn(16, 9, 21, generator=generator)
        if looks != "unlike":
            doses = torch.tensor([0.1, 0.2, 0.4]).repeat(3)[:, None]
            layers = draw[:, [0, 0, 0, 1, 1, 1, 2, 2, 2]] if looks == "alike within a layer" else draw[:, :1]
            draw = layers * doses + 0.02 * draw
        if tail == "student":  # 4 degrees of freedom
            draw = draw / torch.randn(16, 1, 21, 4, generator=generator).square().mean(dim=-1).sqrt()
        _, p = pooled_p_values(draw[..., 0], draw[..., 1:])
        false_alarms += bool((holm_over_cells(p) <= 0.05).any())
    assert false_alarms <= stats.binom.ppf(0.999, families, 0.05)


def test_twenty_random_directions_are_enough_for_a_large_effect_among_many_tests():
    generator = torch.Generator().manual_seed(0)
    effect, null = torch.randn(16, 4, generator=generator), torch.randn(16, 4, 20, generator=generator)
    effect[3, 2] = 30.0
    corrected = holm_over_cells(pooled_p_values(effect, null)[1])
    assert float(corrected[3, 2]) <= 0.05
    assert int((corrected <= 0.05).sum()) == 1


def test_one_dose_and_holm_by_hand():
    p = torch.tensor([[0.01], [0.04], [0.03]]).double()
    torch.testing.assert_close(holm_over_cells(p), torch.tensor([[0.03], [0.06], [0.06]]).double())
    two = torch.tensor([[0.01, 0.02], [0.5, 0.04]]).double()
    torch.testing.assert_close(holm_over_cells(two), torch.tensor([[0.02, 0.04], [0.5, 0.04]]).double())


def test_an_effect_that_could_not_be_measured_has_no_p_value():
    effect, null = torch.tensor([[torch.nan], [1.0]]), torch.randn(2, 1, 20)
    assert holm_over_cells(pooled_p_values(effect, null)[1]).isnan().tolist() == [[True], [False]]


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.0]), min_size=5, max_size=5).filter(lambda v: len(set(v)) > 1))
def test_rank_correlation_equals_scipys(values):
    doses = torch.tensor([0.0, 0.05, 0.1, 0.2, 0.4])
    expected = stats.spearmanr(doses, values).statistic
    assert float(spearman(doses, torch.tensor(values))) == pytest.approx(expected, abs=1e-9)


def test_the_slope_of_a_line_through_the_origin_is_its_own():
    doses = torch.tensor([0.0, 0.1, 0.4])
    torch.testing.assert_close(slope(doses, torch.stack([3 * doses, -doses])), torch.tensor([3.0, -1.0]).double())


def test_the_interval_is_about_students_interval_and_covers():
    generator = torch.Generator().manual_seed(1)
    effects = 0.7 + torch.randn(400, 12, generator=generator)
    low, high = bootstrap_interval(effects, generator)
    expected = stats.t.interval(0.95, 11, effects[0].mean(), stats.sem(effects[0]))
    assert float(low[0]) == pytest.approx(expected[0], abs=0.1)
    assert float(high[0]) == pytest.approx(expected[1], abs=0.1)
    assert 0.92 < float(((low < 0.7) & (high > 0.7)).double().mean()) < 0.98
