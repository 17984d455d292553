"""What is shown is what has arrived: means, z-scores and last tokens against naive loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.live.records import Generated, Served
from amygdala_tl.live.state import KEPT, RECENT, LiveState, View
from amygdala_tl.records import LengthCalibration

CONCEPTS = ("awe", "calm", "grief")
LAYERS = (4, 9)
SERVED = Served(
    concepts=CONCEPTS,
    layers=LAYERS,
    model="m",
    mean=np.asarray([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], dtype=np.float32),
    std=np.asarray([[1.0, 2.0, 4.0], [1.0, 1.0, 1.0]], dtype=np.float32),
    manifest={},
    lengths=LengthCalibration(np.zeros((2, 3)), np.full((2, 3), 0.25), np.asarray([[3.0], [1.0]]), 9),
)
PLAIN = Served(CONCEPTS, LAYERS, "m", None, None, {})
NUMBER = st.floats(-100, 100, width=32)
ROW = st.none() | st.lists(NUMBER, min_size=6, max_size=6)
EVENTS = st.lists(st.lists(ROW, max_size=3), max_size=RECENT)
VIEW = st.builds(View, st.integers(0, 1), st.booleans(), st.booleans())


def generated(rows, text="x", first=1):
    scores = np.full((len(rows), 2, 3), np.nan, dtype=np.float32)
    for index, row in enumerate(rows):
        if row is not None:
            scores[index] = np.asarray(row, dtype=np.float32).reshape(2, 3)
    return Generated("r", 0, first, tuple(range(len(rows))), text, scores)


def state_of(events, served=SERVED):
    state = LiveState(served)
    for rows in events:
        state.add(generated(rows), 0.0)
    return state


def naive(events, view, served=SERVED):
    """[concept] of what `view` looks at, in python's own numbers; None where nothing was computed."""
    rows = [row for rows in events for row in rows if row is not None][-RECENT:]
    if not rows:
        return None
    rows = rows if view.mean else rows[-1:]
    values, reach = [], (3.0, 1.0)[view.layer]
    shrinkage = (0.25 + 0.75 * reach / (len(rows) + reach - 1)) ** 0.5  # of the deviation of a mean over so many tokens
    for concept in range(3):
        column = [row[3 * view.layer + concept] for row in rows]
        value = sum(column) / len(column)
        if not view.raw and served.calibrated:
            value = (value - float(served.mean[view.layer][concept])) / float(served.std[view.layer][concept])
            value /= shrinkage
        values.append(value)
    return values


@given(EVENTS, VIEW, st.sampled_from([SERVED, PLAIN]))
def test_bars_are_the_last_token_or_the_mean_of_recent_ones_in_the_unit_that_was_asked_for(events, view, served):
    chart = state_of(events, served).chart(view)
    expected = naive(events, view, served)
    if expected is None:
        assert chart.bars == ()
        return
    assert {bar.concept: bar.value for bar in chart.bars} == pytest.approx(
        dict(zip(CONCEPTS, expected, strict=True)), abs=2e-3, rel=1e-4
    )
    for bar in chart.bars:
        assert bar.length == pytest.approx(abs(bar.value) / chart.scale, abs=1e-6)
        assert 0 <= bar.length <= 1
    means = naive(events, View(view.layer, view.raw, True), served)
    for bar in chart.bars:
        mean = means[CONCEPTS.index(bar.concept)]
        if view.mean or mean < -2e-3:
            assert bar.mark is None
        elif mean > 2e-3:
            assert bar.mark == pytest.approx(mean / chart.scale, rel=1e-3, abs=1e-3)


@given(EVENTS, st.integers(0, 1), st.booleans())
def test_rows_stand_the_same_whether_the_last_token_or_the_mean_is_shown(events, layer, raw):
    state = state_of(events)
    now = [bar.concept for bar in state.chart(View(layer, raw, False)).bars]
    assert now == [bar.concept for bar in state.chart(View(layer, raw, True)).bars]


def test_a_row_that_was_not_computed_counts_as_nothing_and_not_as_zero():
    state = state_of([[[4.0] * 6], [None]])
    assert {bar.value for bar in state.chart(View(raw=True)).bars} == {4.0}
    assert {bar.value for bar in state.chart(View(raw=True, mean=True)).bars} == {4.0}
    assert [piece.concept for piece in state.pieces(View(), 9)] == ["awe", None]
    assert state.tokens == 2


def test_a_token_is_named_after_its_strongest_concept_in_the_layer_and_unit_that_is_looked_at():
    state = state_of([[[5.0, 5.0, 7.0, 0.0, 9.0, 1.0]]])
    of = lambda view: [(piece.concept, piece.value) for piece in state.pieces(view, 1)]  # noqa: E731
    assert of(View()) == [("awe", 4.0)]
    assert of(View(raw=True)) == [("grief", 7.0)]
    assert of(View(layer=1)) == [("calm", 9.0)]
    state = state_of([[[5.0, 5.0, 7.0, 0.0, 9.0, 1.0], None] + [[5.0, 5.0, 7.0, 0.0, 9.0, 1.0]] * 2])
    assert of(View()) == [("awe", pytest.approx(4.0 / (0.25 + 0.75 * 3 / 5) ** 0.5))]  # a mean over three tokens


@given(st.lists(st.integers(1, 3), max_size=KEPT + 50), st.integers(0, KEPT + 50))
def test_the_last_pieces_are_kept_in_order_and_no_more(lengths, limit):
    state = LiveState(SERVED)
    for number, length in enumerate(lengths):
        state.add(generated([[0.0] * 6] * length, text=str(number)), 0.0)
    shown = state.pieces(View(), limit)
    expected = list(enumerate(lengths))[-min(limit, KEPT) :] if limit else []
    assert [(piece.text, piece.tokens) for piece in shown] == [(str(number), length) for number, length in expected]


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 4)), max_size=30), st.floats(0, 20))
def test_the_rate_counts_the_tokens_of_the_last_five_seconds(steps, later):
    state, at, arrivals = LiveState(SERVED), 0.0, []
    for pause, count in steps:
        at += pause
        arrivals.append((at, count))
        state.add(generated([None] * count), at)
    now = at + later
    assert state.rate(now) == sum(count for when, count in arrivals if when > now - 5.0) / 5.0


def test_scores_of_another_readout_are_left_out():
    state = LiveState(SERVED)
    state.add(Generated("r", 0, 0, (1,), "x", np.zeros((1, 3, 3), dtype=np.float32)), 0.0)
    assert not state.anything
    assert state.tokens == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
@pytest.mark.parametrize("served", [SERVED, PLAIN], ids=["calibrated", "raw"])
def test_a_score_that_is_no_number_is_a_gap_and_every_bar_stays_finite(served, value):
    state = state_of([[[1.0] * 6], [[1.0] * 5 + [value]], [[2.0] * 6]], served)
    assert state.tokens == 3
    for view in (View(0), View(1, raw=True), View(1, mean=True)):
        chart = state.chart(view)
        assert all(np.isfinite([bar.value, bar.length, bar.mark or 0.0]).all() for bar in chart.bars)
        assert [piece.concept is None for piece in state.pieces(view, 3)] == [False, True, False]


def test_memory_does_not_follow_the_size_of_an_event():
    state = LiveState(PLAIN)
    state.add(generated([[1.0] * 6] * (RECENT + 900), text="x" * 10**6), 0.0)
    assert all(row.base is None for row in state._recent)
    assert len(state.pieces(View(), 1)[0].text) <= 1000
