"""Difference of means of whitened activations: what SciPy computes, whole or in parts."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import fractional_matrix_power

from amygdala_tl.directions import half_whitened, mean, whitened
from amygdala_tl.directions.half_whitening import half_whitened_streamed
from tests.directions.test_whitened import cosine, problem

SEEDS = st.integers(0, 10_000)


@given(SEEDS, st.sampled_from([0.0, 0.4, 1.0]))
def test_it_is_scipys_power_of_the_shrunk_covariance_times_the_difference_of_means(seed, shrinkage):
    data = problem(seed)
    found = half_whitened(data, shrinkage=shrinkage).vectors
    difference = mean(data).vectors
    for layer in range(2):
        covariance = np.cov(data.activations[:, layer].double().numpy(), rowvar=False, bias=True)
        covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
        expected = difference[:, layer].double().numpy() @ np.real(fractional_matrix_power(covariance, -0.5))
        torch.testing.assert_close(found[:, layer], torch.from_numpy(expected).float(), rtol=1e-3, atol=1e-3)


@given(SEEDS)
def test_it_lies_between_the_difference_of_means_and_the_whitened_one(seed):
    data = problem(seed)
    between, plain, white = (
        estimator(data, **options).vectors
        for estimator, options in ((half_whitened, {"shrinkage": 0.2}), (mean, {}), (whitened, {"shrinkage": 0.2}))
    )
    apart = cosine(plain, white)
    assert (cosine(between, plain) >= apart - 1e-4).all()
    assert (cosine(between, white) >= apart - 1e-4).all()


def test_texts_in_parts_give_the_same_and_a_constant_axis_gets_nothing():
    data = problem(3, texts=90)
    data.activations[:, :, 2] = 7.0
    expected = half_whitened(data).vectors
    assert expected[..., 2].abs().max() < 1e-4
    found = half_whitened_streamed(lambda: (data.take(torch.arange(90) % 3 == part) for part in range(3)), data.groups)
    torch.testing.assert_close(found.vectors, expected, rtol=1e-3, atol=1e-4)
