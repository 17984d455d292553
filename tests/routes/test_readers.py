"""Readers of the stream: bounded in bytes and number, and no text where the operator has not allowed it."""

import asyncio
import json

import numpy as np
import pytest

from amygdala_tl.routes.events import events_of
from amygdala_tl.routes.metrics import TextMetrics
from amygdala_tl.routes.readers import ALL_BYTES, MOST_READERS, READER_BYTES, Readers
from amygdala_tl.routes.rows import Fragment
from amygdala_tl.routes.store import Entry

PIECE = 64


def entry(name="0_cmpl-secret-1a2b", n=5, index=0, **more):
    """A sequence of two prompt tokens and `n` generated ones, whose scores are their positions."""
    made = Entry(name, "cmpl-secret", index, [7, 8], output_ids=list(range(100, 100 + n)), **more)
    made.rows.put(range(n + 1), np.multiply.outer(np.arange(n + 1, dtype=np.float32), np.ones((1, 2), np.float32)))
    return made


def events(one, n, *, with_text, text="secret words"):
    """The events of `n` generated tokens, and the bytes that they take."""
    fragment = one.rows.fragment(one.sampled_from(0, n), None)
    found = list(events_of(one, 0, one.output_ids[:n], text, fragment, at_once=PIECE, with_text=with_text))
    return [event if isinstance(event, bytes) else event() for event, _ in found], sum(size for _, size in found)


def test_a_reader_that_reads_nothing_is_dropped_alone_and_its_events_are_let_go():
    async def run():
        counts = TextMetrics()
        readers = Readers(counts)
        with readers.reader() as slow, readers.reader() as quick:
            assert counts._numbers["stream_readers"] == 2
            size = READER_BYTES // 100
            for _ in range(200):
                readers.put(b"x", size)
                assert await quick.next(1.0) == b"x"
                assert slow.n_bytes <= READER_BYTES
            assert (slow.dropped, slow.n_bytes, quick.dropped) == (True, 0, False)
            assert await slow.next(1.0) is None
            assert (counts._numbers["stream_readers_dropped"], counts._numbers["stream_readers"]) == (1, 1)
        assert counts._numbers["stream_readers"] == len(readers) == 0

    asyncio.run(run())


def test_all_readers_together_are_bounded():
    readers = Readers(TextMetrics())
    made = [readers.reader() for _ in range(MOST_READERS)]
    opened = [one.__enter__() for one in made]
    size = READER_BYTES // 2
    for _ in range(2):
        readers.put(b"x", size)
    assert sum(one.n_bytes for one in opened) <= ALL_BYTES
    assert 0 < sum(one.dropped for one in opened) < MOST_READERS


def test_more_readers_than_are_taken_get_a_reader_that_is_dropped():
    readers = Readers(TextMetrics())
    made = [readers.reader() for _ in range(MOST_READERS + 1)]
    opened = [one.__enter__() for one in made]
    assert [one.dropped for one in opened] == [False] * MOST_READERS + [True]
    made[0].__exit__(None, None, None)
    assert not readers.full


def test_events_name_neither_text_nor_ids_unless_the_operator_allows_it():
    (event,), _ = events(entry(), 5, with_text=False)
    said = json.loads(event)
    assert said.keys() == {"request_id", "index", "first", "readout"}
    assert b"secret" not in event
    assert [row[0][0] for row in said["readout"]] == [1.0, 2.0, 3.0, 4.0, 5.0]
    (event,), _ = events(entry(), 5, with_text=True)
    said = json.loads(event)
    assert (said["request_id"], said["token_ids"], said["text"]) == (
        "cmpl-secret",
        [100, 101, 102, 103, 104],
        "secret words",
    )


def test_choices_of_one_request_have_one_opaque_name_and_other_requests_another():
    names = [
        json.loads(events(entry(name, index=index), 1, with_text=False)[0][0])["request_id"]
        for name, index in (("0_cmpl-x-1", 0), ("1_cmpl-x-1", 1), ("0_cmpl-x-2", 0))
    ]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("with_text", [False, True])
def test_a_long_answer_becomes_short_events_that_take_no_memory_until_their_turn(with_text):
    n = 3 * PIECE + 1
    one = entry(n=n)
    found, size = events(one, n, with_text=with_text)
    said = [json.loads(event) for event in found]
    assert [event["first"] for event in said] == [0, PIECE, 2 * PIECE, 3 * PIECE]
    assert [row[0][0] for event in said for row in event["readout"]] == list(range(1, n + 1))
    assert size < 10 * 1024
    if with_text:
        assert [event["text"] for event in said] == ["secret words", "", "", ""]
        assert [token for event in said for token in event["token_ids"]] == one.output_ids


def test_a_long_answer_that_the_store_has_forgotten_gives_nothing_rather_than_nulls():
    n = 2 * PIECE
    one = entry(n=n)
    later = [
        event for event, _ in events_of(one, 0, list(one.output_ids), "", Fragment(), at_once=PIECE, with_text=False)
    ]
    one.forget()
    assert [event() for event in later] == [None, None]


def test_events_say_why_a_request_has_no_scores():
    (event,), _ = events(entry(reason="a LoRA adapter"), 1, with_text=False)
    assert json.loads(event)["reason"] == "a LoRA adapter"
