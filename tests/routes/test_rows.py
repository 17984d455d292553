"""Rows by position: a table of arrays that behaves as a dictionary of rows."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.routes.rows import Rows, rows_per_piece

POSITIONS = st.lists(st.integers(0, 200), max_size=40, unique=True)


def scores(positions, scale=1.0):
    """Scores [token, layer, concept] that tell the position."""
    return np.multiply.outer(np.asarray(positions, dtype=np.float32) * scale, np.ones((2, 3), dtype=np.float32))


@given(st.lists(POSITIONS, max_size=5), st.integers(0, 210))
def test_rows_are_those_of_a_dictionary(steps, end):
    rows, expected = Rows(), {}
    for number, positions in enumerate(steps):
        written = scores(positions, scale=number + 1.0)
        assert rows.put(positions, written) == len(set(positions) - expected.keys())
        expected |= dict(zip(positions, written.tolist(), strict=True))
    assert list(rows) == sorted(expected)
    gone = [position for position in expected if position >= end]
    assert rows.cut(end) == len(gone)
    kept = {position: row for position, row in expected.items() if position < end}
    assert (len(rows), list(rows)) == (len(kept), sorted(kept))
    said = json.loads(b"[" + b",".join(rows.pieces(range(205))) + b"]")
    assert said == [kept.get(position) for position in range(205)]


@given(st.lists(st.integers(0, 150), unique=True).map(sorted), POSITIONS)
def test_rows_that_are_appended_one_by_one_are_those_that_are_put_at_once(positions, before):
    before = [position for position in before if position < min(positions, default=0)]
    one_by_one, at_once = Rows(), Rows()
    for rows in (one_by_one, at_once):
        rows.put(before, scores(before))
    at_once.put(positions, scores(positions))
    for position in positions:
        one_by_one.append(position, scores([position]))
        assert one_by_one.get(position)[0, 0] == position
    assert list(one_by_one.pieces(range(160))) == list(at_once.pieces(range(160)))
    assert (len(one_by_one), list(one_by_one), one_by_one.n_bytes) == (len(at_once), list(at_once), at_once.n_bytes)


def test_pieces_hold_about_as_many_numbers_whatever_the_size_of_a_row():
    for n_layers, n_concepts in ((2, 3), (4, 171), (30, 1_000)):
        size = rows_per_piece(n_layers, n_concepts)
        assert size == 1 or size * n_layers * n_concepts <= 2**16
        n = min(3 * size, 250)
        rows = Rows()
        rows.put(range(n), np.zeros((n, n_layers, n_concepts), dtype=np.float32)[:n])
        assert [piece.count(b"]]") for piece in rows.pieces(range(n))] == [
            min(size, n - start) for start in range(0, n, size)
        ]


def test_an_empty_range_has_no_pieces_and_an_empty_table_has_nulls():
    assert list(Rows().pieces(range(0))) == []
    assert list(Rows().pieces(range(3))) == [b"null,null,null"]


def test_small_rows_take_little_more_than_their_numbers_and_keep_no_step_alive():
    big = scores(range(100_000))
    rows = Rows()
    rows.put(range(10_000), big[:10_000])
    assert rows.n_bytes < 2 * 10_000 * 2 * 3 * 4
    row = rows.get(9_999)
    while row.base is not None:
        row = row.base
    assert row.nbytes < 1_000


def test_a_long_cached_prefix_takes_no_room():
    rows = Rows()
    rows.put([1_000_000], scores([1_000_000]))
    assert rows.n_bytes < 2_000
