"""Event streams: however they are written and cut, the same events come out."""

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.net.sse import events

DATA = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=30)
LINE_ENDS = ["\n", "\r\n", "\r"]
NOISE = [": ping", ":", "unknown: field", "retry: soon"]


@given(
    st.lists(st.lists(DATA, min_size=1, max_size=3), max_size=5),
    st.sampled_from(LINE_ENDS),
    st.lists(st.sampled_from(NOISE), max_size=3),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_line_ends_comments_and_chunk_borders_do_not_matter(
    written: list[list[str]], end: str, noise: list[str], named: bool, cuts: list[int]
) -> None:
    lines: list[str] = []
    for data in written:
        lines += [*noise, *(["event: message"] if named else []), *(f"data: {line}" for line in data), ""]
    stream = ("\ufeff" + "".join(line + end for line in lines)).encode()
    borders = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[start:stop] for start, stop in pairwise(borders)]
    assert [event.data for event in events(chunks, 10**6)] == ["\n".join(data) for data in written]


def test_line_separators_inside_the_data_do_not_split_it() -> None:
    data = '{"text": "one\u2028two\u2029three\x85four\x0bfive\x1csix"}'
    assert [event.data for event in events([f"data: {data}\n\n".encode()], 10**6)] == [data]


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"data: one\r\n\r\n"
        raise AssertionError("the event should have come before the next chunk was asked for")

    assert next(iter(events(chunks(), 10**6))).data == "one"


def test_other_event_types_and_events_cut_short_are_skipped() -> None:
    stream = b"event: endpoint\ndata: /x\n\ndata: one\n\ndata: two\n"
    assert [event.data for event in events([stream], 10**6)] == ["one"]


def test_ids_and_pauses_are_given() -> None:
    stream = b"id: 7\nretry: 250\ndata:\n\nid: a\0b\ndata: one\n\n"
    first, second = events([stream], 10**6)
    assert (first.data, first.id, first.retry) == ("", "7", 250)
    assert (second.data, second.id, second.retry) == ("one", "7", None)  # the last id stays valid, as the standard says
