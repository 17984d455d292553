"""An order and a scale that are steady, and never far from the truth."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.live.order import MARGIN, SteadyOrder, steady_scale

VALUE = st.floats(-1e3, 1e3, width=32)
COUNT = st.shared(st.integers(1, 12), key="count")
FRAME = COUNT.flatmap(lambda count: st.lists(VALUE, min_size=count, max_size=count))


def frames(rows):
    return [np.asarray(row, dtype=np.float32) for row in rows]


@given(st.lists(FRAME, min_size=1, max_size=8))
def test_no_row_stands_above_one_that_is_stronger_by_more_than_the_margins(rows):
    order = SteadyOrder()
    for values in frames(rows):
        ranked = order.rank(values)
        assert sorted(ranked) == list(range(len(values)))
        margin = MARGIN * float(values.max() - values.min())
        for upper, lower in itertools.combinations(ranked, 2):
            assert values[lower] - values[upper] <= 2 * margin + 1e-3


@given(FRAME, st.lists(st.floats(-1, 1), min_size=12, max_size=12))
def test_noise_below_the_margin_moves_no_row(row, noise):
    (values,) = frames([row])
    spread = float(values.max() - values.min())
    order = SteadyOrder()
    before = order.rank(values)
    # The range itself may shrink by as much as both ends move.
    shaken = values + np.asarray(noise[: len(values)], dtype=np.float32) * np.float32(0.9 * MARGIN * spread)
    assert order.rank(shaken) == before


@given(st.lists(FRAME, min_size=1, max_size=8))
def test_without_a_margin_it_is_a_plain_sort(rows):
    order = SteadyOrder(margin=0.0)
    for values in frames(rows):
        ranked = order.rank(values)
        assert [float(values[index]) for index in ranked] == sorted(values.tolist(), reverse=True)


def test_ties_stay_as_they_were():
    order = SteadyOrder(margin=0.0)
    assert order.rank(np.asarray([1.0, 2.0], dtype=np.float32)) == (1, 0)
    assert order.rank(np.asarray([2.0, 2.0], dtype=np.float32)) == (1, 0)


def test_a_row_moves_once_its_value_really_has():
    order = SteadyOrder(margin=0.1)
    values = np.asarray([3.0, 2.0, 1.0, -7.0], dtype=np.float32)
    assert order.rank(values) == (0, 1, 2, 3)
    values[2] = 1.9  # by 0.9, with a margin of 1
    assert order.rank(values) == (0, 1, 2, 3)
    values[2] = 3.5
    assert order.rank(values) == (2, 0, 1, 3)


@given(st.lists(st.floats(0, 1e30), min_size=1, max_size=10))
def test_a_scale_is_round_holds_the_longest_bar_and_stays_as_long_as_it_will_do(largests):
    scale = 0.0
    for largest in largests:
        after = steady_scale(scale, largest)
        assert after >= largest
        if scale and largest <= scale <= 4 * largest:
            assert after == scale
        digits = f"{after:e}".partition("e")[0].rstrip("0").rstrip(".")
        assert digits in ("1", "2", "5")
        if largest > 1e-20 and after != scale:
            assert after <= 2.5 * largest * (1 + 1e-9)
        scale = after


def test_a_scale_of_nothing_or_of_what_is_no_number_is_the_one_before():
    assert steady_scale(0.0, 0.0) == 1.0
    assert steady_scale(5.0, math.nan) == 5.0
    assert steady_scale(5.0, math.inf) == 5.0
