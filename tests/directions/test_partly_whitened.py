"""Directions between the difference of means and the whitened one: what SciPy computes, whole or in parts."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import fractional_matrix_power

from amygdala_tl.directions import half_whitened, mean, quarter_whitened, whitened
from amygdala_tl.directions.partial_whitening import partly_whitened_streamed
from tests.directions.test_whitened import cosine, problem

SEEDS = st.integers(0, 10_000)
POWERS = {half_whitened: 0.5, quarter_whitened: 0.25}
each = pytest.mark.parametrize("partly", POWERS, ids=lambda estimator: estimator.__name__)


@each
@given(SEEDS, st.sampled_from([0.0, 0.4, 1.0]))
def test_it_is_scipys_power_of_the_shrunk_covariance_times_the_difference_of_means(partly, seed, shrinkage):
    data = problem(seed)
    found = partly(data, shrinkage=shrinkage).vectors
    difference = mean(data).vectors
    for layer in range(2):
        covariance = np.cov(data.activations[:, layer].double().numpy(), rowvar=False, bias=True)
        covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
        expected = difference[:, layer].double().numpy() @ np.real(fractional_matrix_power(covariance, -POWERS[partly]))
        torch.testing.assert_close(found[:, layer], torch.from_numpy(expected).float(), rtol=1e-3, atol=1e-3)


@given(SEEDS)
def test_they_lie_between_the_difference_of_means_and_the_whitened_one_in_order(seed):
    data, fixed = problem(seed), {"shrinkage": 0.2}
    plain, white = mean(data).vectors, whitened(data, **fixed).vectors
    quarter, half = quarter_whitened(data, **fixed).vectors, half_whitened(data, **fixed).vectors
    near_plain = [cosine(each, plain) for each in (quarter, half, white)]
    near_white = [cosine(each, white) for each in (plain, quarter, half)]
    for more, less in (*pairwise(near_plain), *pairwise(near_white[::-1])):
        assert (more >= less - 1e-4).all()


@each
def test_texts_in_parts_give_the_same_and_a_constant_axis_gets_nothing(partly):
    data = problem(3, texts=90)
    data.activations[:, :, 2] = 7.0
    expected = partly(data).vectors
    assert expected[..., 2].abs().max() < 1e-4
    parts = [data.take(torch.arange(90) % 3 == part) for part in range(3)]
    found, _ = partly_whitened_streamed(POWERS[partly], lambda: parts, data.groups)
    torch.testing.assert_close(found.vectors, expected, rtol=1e-3, atol=1e-4)


@each
def test_axes_of_usual_variance_count_beside_one_of_a_hundred_thousand_times_as_much(partly):
    data = problem(1, texts=400, d_model=64)
    data.activations[:, :, 0] *= 300.0
    found, difference = partly(data, shrinkage=0.5).vectors, mean(data).vectors
    for layer in range(2):
        covariance = np.cov(data.activations[:, layer].double().numpy(), rowvar=False, bias=True)
        covariance = (covariance + np.diag(np.diag(covariance))) / 2
        expected = difference[:, layer].double().numpy() @ np.real(fractional_matrix_power(covariance, -POWERS[partly]))
        assert (cosine(found[:, layer, 1:], torch.from_numpy(expected[:, 1:]).float()) > 0.999).all()
