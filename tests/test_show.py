"""Text from outside is data in a terminal: nothing that it obeys or hides passes."""

import json
import math
import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.errors import AmygdalaError
from amygdala_tl.show import LONGEST, html_bars, html_tokens, safe, safe_json, shortened

ANYTHING = st.text(st.characters(categories=None), max_size=60)  # lone surrogates too


def is_obeyed_or_hidden(character):
    """By Unicode's own classes, but for tab, newline and the joiners that scripts and emoji need."""
    return unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") and character not in "\t\n"


@given(ANYTHING)
def test_no_control_character_passes_and_what_is_safe_stays(text):
    once = safe(text)
    assert not any(map(is_obeyed_or_hidden, once))
    assert safe(once) == once
    once.encode("utf-8")


def test_bidirectional_overrides_and_characters_without_a_glyph_are_written_out():
    assert safe("joy\u202eyoj\u2066\u200b\ufeff\U000e0041") == "joy\\u202eyoj\\u2066\\u200b\\ufeff\\U000e0041"
    assert safe("two\tcolumns\r\nnext line") == "two\tcolumns\nnext line"
    assert (
        safe("\u0645\u06cc\u200c\u062e\u0648 \U0001f468\u200d\U0001f469")
        == "\u0645\u06cc\u200c\u062e\u0648 \U0001f468\u200d\U0001f469"
    )


@given(ANYTHING)
def test_json_is_safe_and_says_the_same(text):
    written = safe_json({text: text})
    assert not any(map(is_obeyed_or_hidden, written))
    assert json.loads(written) == {text: text}


def test_a_message_has_no_escape_and_no_endless_name():
    said = str(AmygdalaError("is wrong", label="a\x1b]52;c;aGk=\x07", got=60_000 * "n", remedy="mend \x9b31m it"))
    assert said.startswith("a\\x1b]52;c;aGk=\\x07: is wrong (got: nnn")
    assert "(60,000 characters)" in said
    assert len(said) < LONGEST + 200
    assert "\x9b" not in said
    assert shortened("short") == "short"


def test_a_message_is_no_longer_for_characters_that_are_shown_in_many():
    said = str(AmygdalaError("is wrong", label="\U000e0001" * 300, got="\x0b" * 1999))
    assert len(said) < 2 * LONGEST + 200
    assert "(300 characters)" in said
    assert "(1,999 characters)" in said


def test_tokens_in_a_notebook_are_text_and_coloured_by_their_sign():
    shown = html_tokens(["<b>joy", " gone"], [3.0, math.nan], ['a "title"', ""])
    assert "&lt;b&gt;joy" in shown
    assert "<b>" not in shown
    assert "a &quot;title&quot;" in shown
    first, second = re.findall(r"background:([^\"]+)", shown)
    assert first == "rgba(238,155,61,0.80)"
    assert second == "none"
    assert "rgba(74,143,196,0.40)" in html_tokens(["x"], [-1.5], [""])


def test_a_bar_is_full_at_three_deviations_and_empty_below_the_mean():
    shown = html_bars(["<i>", "calm", "grief"], [1.5, 9.0, -2.0])
    assert re.findall(r"width:(\d+)%", shown) == ["50", "100", "0"]
    assert "&lt;i&gt;" in shown
    assert "-2.0" in shown
