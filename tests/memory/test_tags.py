"""Tag lines: the contract of the design, by example and by property."""

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.memory.tags import TagLine, split_tag_line
from amygdala_tl.names import fold_name

LETTERS = st.characters(categories=["Ll", "Lu", "Lo"])
NAMES = st.tuples(
    st.text(st.characters(categories=["Ll", "Lu", "Lo", "Nd"], include_characters="_-"), max_size=6), LETTERS
).map("".join)
SCORES = st.one_of(st.integers(0, 10), st.integers(0, 1000).map(lambda hundredths: hundredths / 100))
SEPARATORS = st.sampled_from([" ", ", ", ",", "\t", "  ", " , "])
LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n  \n"])


@st.composite
def tag_lines(draw: st.DrawFn) -> tuple[str, dict[str, float]]:
    """A tag line as somebody may write it, and the scores that it means."""
    pairs = draw(st.lists(st.tuples(NAMES, SCORES), min_size=1, max_size=8, unique_by=lambda pair: fold_name(pair[0])))
    line = "".join(f"{name}:{score}{draw(SEPARATORS)}" for name, score in pairs)
    return line, {fold_name(name): float(score) for name, score in pairs}


@given(st.text(), LINE_ENDS, tag_lines(), st.sampled_from(["", "\n", "  \n\n", "\r\n"]))
def test_text_and_tag_line_come_apart_as_they_were_put_together(
    text: str, end: str, tagged: tuple[str, dict[str, float]], tail: str
) -> None:
    line, scores = tagged
    assert split_tag_line(text + end + line + tail) == (text.rstrip(), TagLine(scores))


@given(st.text())
def test_whatever_the_note_the_text_is_a_right_stripped_beginning_of_it(content: str) -> None:
    text, tags = split_tag_line(content)
    assert content.startswith(text)
    assert text == text.rstrip()
    if tags is None:
        assert text == content.rstrip()
    else:
        rest = content[len(text) :]
        assert len(rest.strip().splitlines()) == 1
        assert tags.scores or tags.ignored
        assert all(0 <= score <= 10 for score in tags.scores.values())


@given(tag_lines(), st.sampled_from(["and", "10:30", "warmth", "warmth:", ":9", "a:b", "warmth::9", "(calm:3)", "."]))
def test_one_word_that_is_no_pair_makes_the_line_prose(tagged: tuple[str, dict[str, float]], word: str) -> None:
    content = f"A note.\n{tagged[0]} {word}"
    assert split_tag_line(content) == (content.rstrip(), None)


@given(NAMES, st.one_of(st.floats(max_value=-0.01), st.floats(min_value=10.01), st.just(math.nan)))
def test_a_score_outside_0_to_10_is_ignored_and_reported_as_written(name: str, score: float) -> None:
    text, tags = split_tag_line(f"A note.\ncalm:3 {name}x:{score}")
    assert text == "A note."
    assert tags == TagLine({"calm": 3.0}, (f"{name}x:{score}",))


@pytest.mark.parametrize(
    ("line", "scores"),
    [
        ("warmth:9 clarity:10", {"warmth": 9, "clarity": 10}),
        ("warmth:9,clarity:10", {"warmth": 9, "clarity": 10}),
        ("Self-Doubt:8.5, in_awe2:0", {"self-doubt": 8.5, "in_awe2": 0}),
        ("STRASSE:1 straße:2", {"strasse": 2}),
        ("Été:7", {"été": 7}),
        ("e\u0301te\u0301:7", {"été": 7}),
        ("प्रेम:9 喜び:8", {"प्रेम": 9, "喜び": 8}),
        ("a:0 b:10 c:10.0 d:-0", {"a": 0, "b": 10, "c": 10, "d": 0}),
    ],
)
def test_these_are_tag_lines(line: str, scores: dict[str, float | int]) -> None:
    expected = TagLine({name: float(score) for name, score in scores.items()})
    assert split_tag_line(f"A note.\n\n{line}\n") == ("A note.", expected)


@pytest.mark.parametrize(
    "line",
    [
        "met at 10:30",
        "10:30",
        "10:30 warmth:9",
        "warmth: 9",
        "warmth :9",
        "warmth:nine",
        "warmth:9/10",
        "warmth:1_0",
        "warmth:\uff19",
        "-:3",
        "_:3",
        "12:3",
        "warmth:9; clarity:10",
        "`warmth:9`",
        "http://example.org",
        "",
        "   ",
        ",",
    ],
)
def test_these_are_not_tag_lines(line: str) -> None:
    content = f"A note.\n{line}"
    assert split_tag_line(content) == (content.rstrip(), None)


def test_only_the_last_line_that_is_not_blank_counts() -> None:
    assert split_tag_line("warmth:9\nA note.") == ("warmth:9\nA note.", None)
    assert split_tag_line("A note.\nwarmth:9\njoy:8\n \n") == ("A note.\nwarmth:9", TagLine({"joy": 8.0}))


def test_a_note_that_is_only_a_tag_line_has_no_text() -> None:
    assert split_tag_line("warmth:9") == ("", TagLine({"warmth": 9.0}))
    assert split_tag_line("") == ("", None)


def test_the_last_usable_score_of_a_name_counts() -> None:
    assert split_tag_line("x\nWarmth:9 warmth:3 WARMTH:11") == ("x", TagLine({"warmth": 3.0}, ("WARMTH:11",)))


@given(st.text())
def test_folding_a_name_twice_changes_nothing(name: str) -> None:
    assert fold_name(fold_name(name)) == fold_name(name)


def test_parsing_tags_does_not_import_the_http_client() -> None:
    code = "import sys, amygdala_tl.memory.tags; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
