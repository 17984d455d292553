"""Running means, exponential means and the largest window against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from amygdala_tl.live.records import CombinedScore, Served
from amygdala_tl.readout.windows import exponential_means, largest_windows, of_the_largest, running_means
from amygdala_tl.records import LengthCalibration

ROWS = st.lists(st.none() | st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2), max_size=40)
"""Scores of two concepts at each token; None at a token that is not readable."""


def scores_of(rows):
    return np.array([[math.nan] * 2 if row is None else row for row in rows]).reshape(-1, 2)


def z_of(means, *, tokens):
    """Independent tokens with mean 1 and deviation 2."""
    return (means - 1.0) / (2.0 / tokens**0.5)


@given(ROWS, st.integers(1, 12))
def test_a_running_mean_is_that_of_the_last_readable_tokens(rows, width):
    means, counts = running_means(scores_of(rows), width)
    for token in range(len(rows)):
        last = [row for row in rows[: token + 1] if row is not None][-width:]
        assert counts[token] == len(last)
        if last:
            np.testing.assert_allclose(means[token], np.mean(last, axis=0), atol=1e-9)
        else:
            assert np.isnan(means[token]).all()


@given(ROWS, st.floats(0.5, 30.0))
def test_an_exponential_mean_halves_the_weight_of_a_token_each_half_life(rows, half_life):
    means, counts = exponential_means(scores_of(rows), half_life)
    for token in range(len(rows)):
        past = [row for row in rows[: token + 1] if row is not None][::-1]
        weights = 0.5 ** (np.arange(len(past)) / half_life)
        if past:
            np.testing.assert_allclose(means[token], np.average(past, axis=0, weights=weights), atol=1e-9)
            assert counts[token] == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
        else:
            assert counts[token] == 0
            assert np.isnan(means[token]).all()


@given(ROWS, st.lists(st.integers(1, 12), min_size=1, max_size=3))
def test_the_largest_window_is_the_best_of_all(rows, widths):
    found = largest_windows(scores_of(rows), z_of, widths=widths)
    places = [token for token, row in enumerate(rows) if row is not None]
    if not places:
        assert found is None
        return
    looked = [width for width in widths if width <= len(places)] or [len(places)]
    for concept in range(2):
        best = -math.inf
        for width in looked:
            for first in range(len(places) - width + 1):
                own = [rows[place][concept] for place in places[first : first + width]]
                best = max(best, z_of(np.mean(own), tokens=width))
        assert found.peak[concept] == pytest.approx(best, abs=1e-6)
        own = [rows[place][concept] for place in places if found.start[concept] <= place < found.stop[concept]]
        assert len(own) in looked
        assert z_of(np.mean(own), tokens=len(own)) == pytest.approx(best, abs=1e-6)


def test_tokens_can_be_left_out_by_name():
    scores = np.array([[9.0], [1.0], [2.0], [90.0], [4.0]])
    readable = np.array([False, True, True, False, True])
    assert running_means(scores, 2, readable=readable)[0][1:, 0].tolist() == [1.0, 1.5, 1.5, 3.0]
    found = largest_windows(scores, z_of, widths=[2], readable=readable)
    assert (found.start.tolist(), found.stop.tolist()) == ([2], [5])


def test_z_takes_a_number_of_tokens_for_each_mean():
    lengths = LengthCalibration(np.zeros((2, 3)), np.full((2, 3), 0.25), np.array([[3.0], [1.5]]), 9)
    one = LengthCalibration(np.zeros((1, 3)), np.full((1, 3), 0.1), np.array([[2.0]]), 9)
    flat = np.ones(3, dtype=np.float32)
    combined = CombinedScore(np.ones((2, 3), dtype=np.float32), flat, 2 * flat, one)
    served = Served(("awe", "joy", "grief"), (4, 9), "m", np.ones((2, 3)), np.ones((2, 3)), {}, lengths=lengths)
    scores = np.random.default_rng(0).normal(size=(50, 2, 3)).astype(np.float32)
    for means, counts in (running_means(scores, 8), exponential_means(scores, 4.0)):
        for z in (served.z, combined.z):
            alone = [z(mean, tokens=float(count)) for mean, count in zip(means, counts, strict=True)]
            np.testing.assert_allclose(z(means, tokens=counts), alone, rtol=1e-5, atol=1e-5)


@given(st.floats(-6, 2), st.integers(1, 5000))
def test_the_largest_of_many_windows_has_the_z_that_one_score_exceeds_as_rarely(peak, tokens):
    widths = [16, 64]
    windows = 1 + max(0, tokens - 16) / 16 + max(0, tokens - 64) / 64
    found = float(of_the_largest(np.array(peak), tokens, widths))
    share = -math.expm1(windows * math.log1p(-norm.sf(peak)))
    assert norm.sf(found) == pytest.approx(share, rel=1e-6)
    if tokens <= 16:
        assert found == pytest.approx(peak, abs=1e-6)


def test_a_higher_window_always_has_a_higher_z_and_a_longer_turn_a_lower_one():
    peaks = np.linspace(1.5, 12.0, 50)
    found = [of_the_largest(peaks, tokens) for tokens in (100, 1_000, 8_000)]
    assert (np.diff(found, axis=1) > 0).all()
    assert (np.diff(found, axis=0) < 0).all()
    assert np.isfinite(found).all()
