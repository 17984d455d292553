"""Rows by request and position: overwritten when computed again, absent when never computed, forgotten in time."""

import asyncio
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.routes.store import Entry, Step, Store
from amygdala_tl.vllm.wire import decode, encode


def step(*requests, scale=1.0):
    """A step of (engine id, positions), whose scores tell the position."""
    positions = np.array([position for _, own in requests for position in own], dtype=np.int64)
    scores = scale * positions[:, None, None].astype(np.float32) * np.ones((1, 2, 3), dtype=np.float32)
    return Step(tuple((name, len(own)) for name, own in requests), positions, scores)


def store(*names, prompt=4, **limits):
    """A store that expects rows of these sequences."""
    fresh = Store(**limits)
    for name in names:
        fresh.open(Entry(name, f"cmpl-{name}", 0, list(range(prompt))))
    return fresh


async def waited(fresh, name, positions, patience):
    """The rows at positions, after waiting for them."""
    await fresh.wait(fresh.running[name], positions.stop, patience)
    return rows_at(fresh, name, positions)


def rows_at(fresh, name, positions):
    """The rows at positions now, None where there is none."""
    return [fresh.running[name].rows.get(position) for position in positions]


def test_rows_of_one_step_go_to_their_own_requests():
    fresh = store("a", "b")
    fresh.add(step(("b", [0, 1, 2]), ("unknown", [7]), ("a", [5])))
    assert list(fresh.running["a"].rows) == [5]
    assert list(fresh.running["b"].rows) == [0, 1, 2]
    assert fresh.running["a"].rows.get(5)[1, 2] == 5.0


def test_a_position_computed_again_is_overwritten():
    fresh = store("a")
    fresh.add(step(("a", [0, 1, 2])))
    fresh.add(step(("a", [1, 2]), scale=10.0))
    assert [float(row[0, 0]) for row in rows_at(fresh, "a", range(3))] == [0.0, 10.0, 20.0]


def test_waiting_ends_when_the_row_comes_and_missing_rows_are_none():
    async def run():
        fresh = store("a")
        fresh.add(step(("a", [1])))

        async def later():
            await asyncio.sleep(0.01)
            fresh.add(step(("a", [2])))

        task = asyncio.create_task(later())
        rows = await waited(fresh, "a", range(1, 3), 5.0)
        await task
        assert [float(row[0, 0]) for row in rows] == [1.0, 2.0]
        assert (await waited(fresh, "a", range(3), 0.01))[0] is None

    asyncio.run(run())


def test_a_missing_row_is_not_waited_for_once_a_later_one_is_here_or_it_is_known_to_be_lost():
    async def run():
        fresh = store("a", "b")
        fresh.add(step(("a", [0, 3])))
        lost = Step((), np.empty(0, np.int64), np.empty((0, 1, 1), np.float32), lost=(("b", 5),), failures=1)
        fresh.add(decode(encode(lost)))
        async with asyncio.timeout(5):
            assert [row is None for row in await waited(fresh, "a", range(1, 4), 60.0)] == [True, True, False]
            assert await waited(fresh, "b", range(4, 5), 60.0) == [None]

    asyncio.run(run())


def test_an_engine_that_sends_nothing_is_waited_for_once_until_it_sends_again():
    async def run():
        fresh = store("a")
        await waited(fresh, "a", range(1), 0.2)
        async with asyncio.timeout(5):
            for position in range(1, 20):
                assert await waited(fresh, "a", range(position, position + 1), 60.0) == [None]
        fresh.add(step(("a", [20])))

        async def later():
            await asyncio.sleep(0.2)
            fresh.add(step(("a", [21])))

        task = asyncio.create_task(later())
        (row,) = await waited(fresh, "a", range(21, 22), 60.0)
        await task
        assert float(row[0, 0]) == 21.0

    asyncio.run(run())


def test_an_event_loop_that_stood_still_for_longer_than_the_patience_still_finds_the_row():
    async def run():
        fresh = store("a")
        waiting = asyncio.create_task(waited(fresh, "a", range(1), 0.3))
        await asyncio.sleep(0)
        time.sleep(0.5)
        asyncio.get_running_loop().call_later(0.02, fresh.add, step(("a", [0])))
        assert (await waiting)[0] is not None

    asyncio.run(run())


def test_rows_that_are_not_finite_are_missing():
    fresh = store("a")
    broken = step(("a", [0, 1, 2]))
    broken.scores[1, 0, 0] = np.nan
    broken.scores[2, 1, 2] = np.inf
    fresh.add(broken)
    assert list(fresh.running["a"].rows) == [0]
    assert fresh.running["a"].reached == 3


def test_finished_requests_are_kept_without_what_was_computed_past_their_end():
    fresh = store("a")
    fresh.running["a"].output_ids = [9, 9]
    fresh.add(step(("a", [0, 1, 2, 3, 4, 5, 6])))
    fresh.finish("a")
    fresh.add(step(("a", [7])))
    assert list(fresh.done["a"].rows) == [0, 1, 2, 3, 4]  # position 5 holds the last token, which is never run
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
    small = store(*names, keep_bytes=1600)  # a block with two rows of 24 bytes, and the ids
    for name in names:
        small.add(step((name, [0, 1])))
        small.finish(name)
    assert list(small.done) == names[-2:]


def test_a_sequence_that_the_store_forgets_lets_go_of_its_rows_wherever_it_is_held():
    few = store("a", "b", keep_requests=1)
    held = few.running["a"]
    for name in ("a", "b"):
        few.add(step((name, [0, 1, 2])))
        few.finish(name)
    assert held.forgotten
    assert (len(held.rows), held.n_bytes) == (0, 0)
    few.open(Entry("c", "c", 0, [1]))
    cancelled = few.running["c"]
    few.add(step(("c", [0])))
    few.drop("c")
    assert cancelled.forgotten
    assert not len(cancelled.rows)
    few.remove("b")
    assert (few.held, few.find("cmpl-b")) == (0, [])


def test_sequences_of_two_requests_with_one_id_keep_their_own_rows_and_are_both_found():
    fresh = Store()
    for name, scale in (("x-1", 1.0), ("x-2", 10.0)):
        fresh.open(Entry(name, "cmpl-x", 0, [1, 2]))
        fresh.add(step((name, [0, 1]), scale=scale))
    assert [float(rows_at(fresh, name, range(2))[1][0, 0]) for name in ("x-1", "x-2")] == [1.0, 10.0]
    assert [entry.engine_id for entry in fresh.find("cmpl-x")] == ["x-1", "x-2"]
    fresh.drop("x-1")
    assert [entry.engine_id for entry in fresh.find("cmpl-x")] == ["x-2"]


def test_a_request_with_a_reason_gets_no_rows_is_not_waited_for_and_misses_nothing():
    async def run():
        fresh = Store()
        fresh.open(Entry("a", "cmpl-a", 0, [1, 2], reason="a LoRA adapter"))
        fresh.add(step(("a", [0, 1])))
        async with asyncio.timeout(5):
            assert await waited(fresh, "a", range(9), 60.0) == [None] * 9
        fresh.finish("a")
        assert (fresh.taken, fresh.missing_cached, fresh.missing_lost) == (0, 0, 0)

    asyncio.run(run())


def test_requests_over_several_prompts_are_found_by_the_id_of_the_response():
    fresh = Store()
    for part in (10, 2):
        for index in (0, 1):
            fresh.open(Entry(f"{part}{index}", f"cmpl-x-{part}", index, [1]))
    fresh.open(Entry("other", "cmpl-x-2-y", 0, [1]))
    fresh.open(Entry("chat", "chatcmpl-x-2", 0, [1]))
    assert [(entry.request_id, entry.index) for entry in fresh.find("cmpl-x")] == [
        ("cmpl-x-2", 0), ("cmpl-x-2", 1), ("cmpl-x-10", 0), ("cmpl-x-10", 1),
    ]  # fmt: skip
    assert len(fresh.find("cmpl-x-10")) == 2
    assert fresh.find("nothing") == []
    assert fresh.find("chatcmpl-x") == []  # a chat has one prompt, so this is another client's


def test_missing_positions_of_finished_requests_are_told_apart():
    fresh = store("cached", "lost", "nothing", prompt=6)
    for name in ("cached", "lost", "nothing"):
        fresh.running[name].output_ids = [9, 9, 9]  # positions 0-8, the last of which is never run
    fresh.add(step(("cached", [4, 5, 6, 7, 8]), ("lost", [0, 1, 4, 5, 7])))
    for name, expected in (("cached", (4, 0)), ("lost", (4, 3)), ("nothing", (4, 11))):
        fresh.finish(name)
        assert (fresh.missing_cached, fresh.missing_lost) == expected, name


ACTIONS = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("add"), st.integers(0, 3), st.integers(0, 5)),
    st.tuples(st.just("finish"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("drop"), st.integers(0, 3), st.just(0)),
)


@given(st.lists(ACTIONS, max_size=40))
def test_rows_taken_less_rows_forgotten_are_the_rows_that_are_there(actions):
    fresh = Store(keep_requests=2, keep_bytes=200)
    for action, number, position in actions:
        name = f"r{number}"
        if action == "open" and name not in fresh.running:
            fresh.open(Entry(name, name, 0, [1, 2]))
        elif action == "add":
            fresh.add(step((name, [position, position + 1])))
        elif action == "finish":
            fresh.finish(name)
        elif action == "drop":
            fresh.drop(name)
        entries = [*fresh.running.values(), *fresh.done.values()]
        assert fresh.held == sum(len(entry.rows) for entry in entries)


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
