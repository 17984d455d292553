"""Lines fit, whatever they say, and what they say is shown and not obeyed."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from amygdala_tl.live import paint
from amygdala_tl.live.feed import Waiting
from amygdala_tl.live.records import Served
from amygdala_tl.live.state import Bar, Chart, Piece, View

TEXT = st.text(max_size=60)
WIDTH = st.integers(12, 220)
VALUE = st.floats(-1e30, 1e30)
BARS = st.lists(st.builds(Bar, TEXT, VALUE, st.floats(0, 1), st.none() | st.floats(0, 1)), max_size=30).map(tuple)
PIECES = st.lists(st.builds(Piece, TEXT, st.integers(1, 500), st.booleans(), st.none() | TEXT, VALUE), max_size=30)
VIEWS = st.builds(View, st.integers(0, 1), st.booleans(), st.booleans())
SERVED = Served(("joy",), (3, 17), "m", np.zeros((2, 1), np.float32), np.ones((2, 1), np.float32), {})


def check(lines, width):
    for line in lines:
        assert cell_len(line.plain) <= width, line.plain
        assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in line.plain)


@given(BARS, VIEWS, WIDTH, st.integers(0, 40))
def test_bars_fit_their_place(bars, view, width, height):
    lines = paint.chart_lines(Chart(bars, 5.0), SERVED, view, width, height)
    check(lines, width)
    assert len(lines) <= max(1, height)


@given(PIECES, st.lists(TEXT, max_size=5), WIDTH, st.integers(0, 40))
def test_pieces_fit_their_place(pieces, concepts, width, height):
    lines = paint.piece_lines(pieces, concepts, width, height)
    check(lines, width)
    assert len(lines) <= max(1, height)


@given(TEXT, TEXT, VIEWS, st.floats(0, 1e6), st.integers(0, 10**12), WIDTH)
def test_the_header_fits_two_lines(model, server, view, rate, tokens, width):
    for served in (SERVED, None):
        lines = paint.header(served, model, server, view, rate, tokens, width)
        assert len(lines) == 2
        check(lines, width)


@given(st.sampled_from(["unreachable", "off", "key"]), TEXT, TEXT, WIDTH)
def test_troubles_fit_and_name_the_remedy(trouble, what, remedy, width):
    lines = paint.trouble_lines(Waiting(trouble, what, remedy, 1.0), width)
    check(lines, width)
    squeezed = "".join("".join(line.plain for line in lines).split())
    assert "".join(paint.visible(remedy).split()) in squeezed


@given(TEXT, st.integers(0, 80))
def test_a_fitted_text_has_exactly_its_width(text, width):
    assert cell_len(paint.fitted(text, width)) == width


@given(VALUE)
def test_a_number_takes_six_characters_at_most_and_keeps_its_sign(value):
    said = paint.number_of(value)
    assert len(said) <= 6
    assert abs(float(said) - value) <= max(0.051, 0.51 * abs(value))


def test_markup_and_escapes_of_a_token_are_shown():
    (_, line) = paint.piece_lines([Piece("[bold]\x1b[31mred\u202e\n", 1, False, "[joy]", 1.0)], ["[joy]"], 60, 2)
    assert "[bold]·[31mred·↵" in line.plain
    assert "[joy]" in line.plain


def test_a_bar_is_as_long_as_its_share_and_says_its_sign_without_colour():
    bars = (Bar("up", 5.0, 1.0), Bar("half", 2.5, 0.5), Bar("down", -2.5, 0.5))
    lines = paint.chart_lines(Chart(bars, 5.0), SERVED, View(), 52, 10)
    assert [line.plain.count("█") for line in lines] == [0, 40, 20, 0]
    assert [line.plain.count("░") for line in lines] == [0, 0, 0, 20]


@pytest.mark.parametrize(("mark", "column"), [(0.0, 0), (0.5, 20), (1.0, 39), (None, -1)])
def test_the_recent_mean_is_marked_on_the_bar(mark, column):
    (_, line) = paint.chart_lines(Chart((Bar("calm", 2.0, 0.4, mark),), 5.0), SERVED, View(), 52, 10)
    assert line.plain[5:45].find("│") == column
    assert line.plain[5:45].count("█") == 16 - (0 <= column < 16)
