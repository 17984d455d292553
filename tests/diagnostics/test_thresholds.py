"""The stated rate of false alarms holds for turns that no threshold has seen, however they are distributed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.diagnostics.thresholds import alert_thresholds
from amygdala_tl.errors import InputError


def chosen(largest, rate):
    """Thresholds of columns of turns."""
    largest = np.asarray(largest, dtype=np.float64)
    names = tuple(f"concept{column}" for column in range(largest.shape[1]))
    return alert_thresholds(largest, rate, concepts=names, window=64)


@pytest.mark.parametrize(("n", "rate"), [(40, 0.1), (99, 0.01), (250, 0.05), (30, 0.01)])
def test_new_turns_raise_false_alarms_at_the_stated_rate_and_seldom_more_than_the_bound(n, rate):
    random, samples = np.random.default_rng(n), 4000
    seen = random.standard_t(3, size=(n, samples))  # each column is a sample of turns of its own, with heavy tails
    found = chosen(seen, rate)
    beyond = (random.standard_t(3, size=(2000, samples)) > found.above).mean(axis=0)
    assert beyond.mean() == pytest.approx(found.expected, rel=0.05)
    assert found.expected <= max(rate, 1 / (n + 1)) + 1e-12
    assert found.enough == (n >= 1 / rate - 1)
    exact = (random.standard_t(3, size=(50_000, 300)) > found.above[:300]).mean(axis=0)
    assert (exact <= found.at_most).mean() == pytest.approx(0.95, abs=0.05)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5]))
def test_the_threshold_is_the_smallest_turn_with_few_enough_above_it(values, rate):
    found = chosen(np.array(values, dtype=float)[:, None], rate)
    beyond = lambda above: (sum(value > above for value in values) + 1) / (len(values) + 1)  # noqa: E731  # with the next
    fitting = [value for value in values if beyond(value) <= rate + 1e-9]
    assert found.above[0] == (min(fitting) if fitting else max(values))
    assert bool(fitting) >= found.enough


def test_so_many_turns_are_needed_as_the_rate_says():
    assert chosen(np.zeros((99, 1)), 0.01).enough
    assert not chosen(np.zeros((98, 1)), 0.01).enough
    assert chosen(np.zeros((98, 1)), 0.01).n_needed == 99
    assert chosen(np.zeros((19, 1)), 0.05).expected == pytest.approx(0.05)


def test_no_turns_and_no_rate_are_refused():
    with pytest.raises(InputError, match="no turn is long enough"):
        chosen(np.empty((0, 2)), 0.01)
    for rate in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(InputError, match="not a rate"):
            chosen(np.zeros((9, 2)), rate)
