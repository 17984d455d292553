"""Rows by request and position: overwritten when computed again, absent when never computed, forgotten in time."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.vllm.store import Store, as_values
from amygdala_tl.vllm.wire import Step, decode, encode


def step(*requests, scale=1.0):
    """A step of (engine id, positions), whose scores tell the position."""
    positions = np.array([position for _, own in requests for position in own], dtype=np.int64)
    scores = scale * positions[:, None, None].astype(np.float32) * np.ones((1, 2, 3), dtype=np.float32)
    return Step(tuple((name, len(own)) for name, own in requests), positions, scores)


def store(*names, prompt=4, **limits):
    """A store that expects rows of these sequences."""
    fresh = Store(**limits)
    for name in names:
        fresh.open(name, f"cmpl-{name}", 0, list(range(prompt)))
    return fresh


def test_rows_of_one_step_go_to_their_own_requests():
    fresh = store("a", "b")
    fresh.add(step(("b", [0, 1, 2]), ("unknown", [7]), ("a", [5])))
    assert sorted(fresh.running["a"].rows) == [5]
    assert sorted(fresh.running["b"].rows) == [0, 1, 2]
    assert fresh.running["a"].rows[5][1, 2] == 5.0


def test_a_position_computed_again_is_overwritten():
    fresh = store("a")
    fresh.add(step(("a", [0, 1, 2])))
    fresh.add(step(("a", [1, 2]), scale=10.0))
    assert [float(fresh.running["a"].rows[position][0, 0]) for position in (0, 1, 2)] == [0.0, 10.0, 20.0]


def test_waiting_ends_when_the_row_comes_and_missing_rows_are_none():
    async def run():
        fresh = store("a")
        fresh.add(step(("a", [1])))

        async def later():
            await asyncio.sleep(0.01)
            fresh.add(step(("a", [2])))

        task = asyncio.create_task(later())
        rows = await fresh.wait("a", range(1, 3), 5.0)
        await task
        assert [float(row[0, 0]) for row in rows] == [1.0, 2.0]
        assert (await fresh.wait("a", range(3), 0.01))[0] is None
        assert await fresh.wait("unknown", range(2), 5.0) == [None, None]

    asyncio.run(run())


def test_finished_requests_are_kept_without_what_was_computed_past_their_end():
    fresh = store("a")
    fresh.running["a"].output_ids = [9, 9]
    fresh.add(step(("a", [0, 1, 2, 3, 4, 5, 6])))
    fresh.finish("a")
    fresh.add(step(("a", [7])))
    assert sorted(fresh.done["a"].rows) == [0, 1, 2, 3, 4]  # position 5 holds the last token, which is never run
    assert fresh.done["a"].finished


def test_cancelled_requests_are_forgotten_at_once():
    fresh = store("a")
    fresh.add(step(("a", [0])))
    fresh.drop("a")
    fresh.add(step(("a", [1])))
    assert not fresh.running
    assert not fresh.done


def test_memory_is_bounded_by_count_and_by_bytes():
    names = [f"r{index}" for index in range(10)]
    few = store(*names, keep_requests=3)
    for name in names:
        few.finish(name)
    assert list(few.done) == names[-3:]
    small = store(*names, keep_bytes=100)  # a row is 24 bytes
    for name in names:
        small.add(step((name, [0, 1])))
        small.finish(name)
    assert list(small.done) == names[-2:]


def test_a_row_kept_does_not_keep_the_whole_step():
    fresh = store("a")
    big = step(("other", list(range(1000))), ("a", [0]))
    fresh.add(big)
    row = fresh.running["a"].rows[0]
    assert row.base is None or row.base.nbytes < 1000


def test_requests_over_several_prompts_are_found_by_the_id_of_the_response():
    fresh = Store()
    for part in (10, 2):
        for index in (0, 1):
            fresh.open(f"{part}{index}", f"cmpl-x-{part}", index, [1])
    fresh.open("other", "cmpl-x-2-y", 0, [1])
    assert [(entry.request_id, entry.index) for entry in fresh.find("cmpl-x")] == [
        ("cmpl-x-2", 0), ("cmpl-x-2", 1), ("cmpl-x-10", 0), ("cmpl-x-10", 1),
    ]  # fmt: skip
    assert len(fresh.find("cmpl-x-10")) == 2
    assert fresh.find("nothing") == []


def test_json_values_are_null_where_missing_or_not_finite():
    assert as_values(None) is None
    assert as_values(np.array([[1.0, np.nan]], dtype=np.float32)) is None
    assert as_values(np.array([[1.0, 2.0]], dtype=np.float32)) == [[1.0, 2.0]]


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=8), st.integers(0, 4)), max_size=5),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_what_is_sent_is_what_arrives(requests, n_layers, n_concepts):
    total = sum(count for _, count in requests)
    scores = np.random.default_rng(0).normal(size=(total, n_layers, n_concepts)).astype(np.float32)
    sent = Step(tuple(requests), np.arange(total), scores)
    found = decode(encode(sent))
    assert found.requests == sent.requests
    np.testing.assert_array_equal(found.positions, sent.positions)
    np.testing.assert_array_equal(found.scores, sent.scores)


def test_frames_that_do_not_fit_together_are_refused():
    frames = encode(step(("a", [0, 1])))
    with pytest.raises(ValueError, match="positions"):
        decode([frames[0], frames[1][:8], frames[2]])
    with pytest.raises(ValueError, match="reshape"):
        decode([frames[0], frames[1], frames[2][:8]])
