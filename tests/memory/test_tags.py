"""Tag lines: the contract of the design, by example and by property."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.memory.notes import split_notes, split_tag_line
from amygdala_tl.memory.tags import LONGEST_LINE, TagLine, near
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


PROSE = st.text(st.characters(categories=["L", "Zs"]), min_size=1, max_size=40).map(
    lambda text: f"A note of {text}, it was."
)


@settings(max_examples=40)
@given(PROSE, LINE_ENDS, tag_lines(), st.sampled_from(["", "\n", "  \n\n", "\r\n", "\n---\n"]))
def test_text_and_tag_line_come_apart_as_they_were_put_together(
    text: str, end: str, tagged: tuple[str, dict[str, float]], tail: str
) -> None:
    line, scores = tagged
    assert split_tag_line(text + end + line + tail) == (text.strip(), TagLine(scores))


@settings(max_examples=40)
@given(st.text())
def test_whatever_the_note_no_line_of_a_text_is_a_tag_line(content: str) -> None:
    for note in split_notes(content):
        assert note.text == note.text.strip()
        if not note.fault:
            assert all(split_tag_line(line)[1] is None for line in note.text.splitlines()[-1:])
        if note.tags is not None:
            assert note.tags.scores or note.tags.ignored
            assert all(0 <= score <= 10 for score in note.tags.scores.values())
    text, _ = split_tag_line(content)
    assert {character for character in text if not character.isspace()} <= set(content)


@settings(max_examples=40)
@given(st.lists(st.tuples(PROSE, tag_lines()), min_size=1, max_size=4), LINE_ENDS)
def test_notes_that_follow_each_other_come_apart_each_with_its_own_tags(
    notes: list[tuple[str, tuple[str, dict[str, float]]]], end: str
) -> None:
    content = end.join(part for text, (line, _) in notes for part in (text, line))
    found = split_notes(content)
    assert [(note.text, note.tags) for note in found] == [
        (text.strip(), TagLine(scores)) for text, (_, scores) in notes
    ]


SPELLINGS = [
    "{a}: {x} {b}: {y}",
    "**{a}:{x} {b}:{y}**",
    "**{a}**: {x}, **{b}**: {y}",
    "*{a}:{x}* *{b}:{y}*",
    "_{a}:{x}_ _{b}:{y}_",
    "Tags: {a}:{x} {b}:{y}",
    "tags = {a}:{x}, {b}:{y}",
    "Tags {a}:{x} {b}:{y}",
    "Mood: {a} {x}/10, {b} {y}/10",
    "[{a}:{x}, {b}:{y}]",
    "({a}:{x}, {b}:{y})",
    "({a}:{x}) ({b}:{y})",
    "<{a}:{x}> <{b}:{y}>",
    "{a}:{x}/10 {b}:{y}/10",
    "{a}:{x} / 10, {b}:{y} / 10",
    "{a} {x}/10 {b} {y}/10",
    "#{a}:{x} #{b}:{y}",
    "@{a}:{x} @{b}:{y}",
    "{a}:{x}; {b}:{y}",
    "{a}:{x} | {b}:{y}",
    "{a}\uff1a{x} {b}\uff1a{y}",
    "{a}:{x} {b}:{y}\n---",
    "---\n{a}:{x} {b}:{y}\n---",
    "- {a}:{x} {b}:{y}",
    "- {a}: {x}\n- {b}: {y}",
    "1. {a}: {x}\n2. {b}: {y}",
    "\u2022 {a}: {x}\n\u2022 {b}: {y}",
    "`{a}:{x} {b}:{y}`",
    "`{a}`: {x} `{b}`: {y}",
    "{a}={x} {b}={y}",
    "{a}:{x}\n{b}:{y}",
    "{a}: {x}\n\n{b}: {y}",
    "\U0001f60a {a}:{x} \U0001f60c {b}:{y}",
    "{a}:{x}. {b}:{y}.",
    "{a}: {x}, {b}: {y}.",
    "{a}\u2192{x} {b}\u2192{y}",
    "{a} -> {x}, {b} -> {y}",
    "| emotion | score |\n|---|---|\n| {a} | {x} |\n| {b} | {y} |",
    "| {a} | {x} |\n| {b} | {y} |",
    "<!-- {a}:{x} {b}:{y} -->",
    "<sub>{a}:{x} {b}:{y}</sub>",
    '{{"{a}": {x}, "{b}": {y}}}',
    '```json\n{{\n  "{a}": {x},\n  "{b}": {y}\n}}\n```',
    '{{"tags": {{"{a}": {x}, "{b}": {y}}}}}',
    "tags:\n  {a}: {x}\n  {b}: {y}",
    "## Emotions\n- {a}: {x}\n- {b}: {y}",
    "{a}: {x} and {b}: {y}",
    "> {a}:{x} {b}:{y}",
    "{a} \u2013 {x}, {b} \u2013 {y}",
    "{a} :{x} {b} :{y}",
    "{a}:{x} \u00b7 {b}:{y}",
    "{a}::{x} {b}::{y}",
    "{a}\\:{x} {b}\\:{y}",
    "{a}\u2236{x} {b}\ua789{y}",
    "{a}\u200b:{x}\u3001{b}\ufe0f:{y}\u3002",
]
FULL_WIDTH = str.maketrans("0123456789", "\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19")


NAMES_OF_TAGS = [("joy", "calm"), ("Joy", "Calm"), ("\u559c\u60a6", "\u5e73\u9759"), ("in_awe", "self-doubt")]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_near_spellings_of_a_tag_line_are_read(spelling: str) -> None:
    for a, b in NAMES_OF_TAGS:
        for x, y in ((9, 8), ("9".translate(FULL_WIDTH), "8".translate(FULL_WIDTH))):
            found = split_tag_line(f"We swept the harbour at 10:30.\n\n{spelling.format(a=a, b=b, x=x, y=y)}\n")
            assert found == ("We swept the harbour at 10:30.", TagLine({fold_name(a): 9.0, fold_name(b): 8.0}))


@pytest.mark.parametrize(
    "content",
    [
        "joy:9 calm:8\nWe swept.",
        "---\ntitle: Harbour\njoy: 9\ncalm: 8\n---\nWe swept.",
        "We swept. joy:9 calm:8",
        "We swept (joy: 9, calm: 8).",
    ],
)
def test_tags_above_a_note_or_at_the_end_of_its_last_sentence_are_read(content: str) -> None:
    text, tags = split_tag_line(content)
    assert text.rstrip(".") == "We swept"
    assert tags == TagLine({"joy": 9.0, "calm": 8.0})


@pytest.mark.parametrize(
    "line",
    [
        "joy:9 (strong)",
        "joy:9-ish calm:8",
        "quiet joy: 9",
        "joy:4/5",
        "joy:9 calm:high",
        "joy:8-9 calm:8",
        "warmth:9 and",
        "rated joy:9 today",
        "joy 9/10",
        "page 9/10",
        "joy:9 10:30",
        "joy:9 a:b",
    ],
)
def test_a_note_whose_last_line_may_hold_a_label_is_marked_and_not_neutral(line: str) -> None:
    (note,) = split_notes(f"We swept.\n{line}")
    assert (note.fault, note.example) == ("unread", line)
    assert split_tag_line(f"We swept.\n{line}")[1] == TagLine({}, unread=line)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("#joy #calm", "unread"),
        ("Tags: joy, calm", "unread"),
        ("joy 90%", "unread"),
        ("joy \u2605\u2605\u2605\u2606", "unread"),
        ("joy: high", "unread"),
        ("9 joy", "unread"),
        ("It was joy: 9 for me, and then we all went home again.", "unread"),
        ("joy: very high (9)", "unread"),
        ("joy high, calm low", "unread"),
        ("joy9 calm8", "unread"),
        ("joy-9 calm_8", "unread"),
        ("joy\u2079", "unread"),
        ("joy, calm", "unread"),
        ("[joy] [calm]", "unread"),
        ("joy 8ish, calm 7ish", "unread"),
        ("Moods:\n- joy", "unread"),
        ("- joy", ""),
        ("No joy.", ""),
        ("Some calm", ""),
        ("Joy, calm.", ""),
        ("Off to find joy at 9.", ""),
        ("Chapter 3: joy and its enemies.", ""),
        ("Today:\nJoy.", ""),
        ("Tags:\njoy\ncalm", "unread"),
        ('{"name": "joy", "score": 9}', "unread"),
        ("<joy>9</joy>", "unread"),
        ('<tag name="joy" score="9"/>', "unread"),
        ("I would say joy 9/10.", "unread"),
        ("feeling joy at 9 and calm at 8", "unread"),
        ("==joy:9==", "read"),
        ("joy&colon;9", "read"),
        ("joy\u02d09", "read"),
        ("There was joy at 9:30.", ""),
        ("It was a joy, on 2031-01-09.", ""),
        ("joy 9, calm 8", "read"),
        ("joy (9)", "read"),
        ("Joy.", ""),
        ("joy: what a word", ""),
        ("#harbour #roof", ""),
        ("Room 9", ""),
    ],
)
def test_names_that_the_graph_uses_elsewhere_decide_what_a_line_is(line: str, fault: str) -> None:
    (note,) = split_notes(f"We swept.\n{line}", {"joy", "calm"})
    assert note.fault == fault.replace("read", "") if fault != "unread" else note.fault == "unread"
    assert (note.tags is not None) == (fault == "read")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("---\ntags: [joy, calm]\n---\nWe swept.", "tags: [joy, calm]"),
        ("---\ntags:\n  - joy\n---\nWe swept.", "- joy"),
        ("---\nmood: joy\nscore: 9\n---\nWe swept.", "mood: joy"),
        ("Tags: joy, calm\nWe swept.", "Tags: joy, calm"),
        ("We swept.\nname: joy\nscore: 9", "name: joy"),
        ("We swept.\nFeelings:\n- joy\n- calm\nand so on", "- joy"),
        ("---\ntitle: The joy of boats\n---\nWe swept.", ""),
        ("# Joy\nWe swept.", ""),
        ("---\nname: Joy\nrating: 4\n---\nWe swept.", ""),
        ("Pride 2024, calm and joy\nWe swept.", ""),
        ("---\nWe swept.\nNo joy.\nWe left.\n---\nAnd so on.", ""),
        ("We swept.\nIt was calm for 2 hours.", ""),
        ("We swept.\njoy, calm\n\ncalm:8", ""),
        ("Joy.\nWe swept.", ""),
    ],
)
def test_labels_above_a_text_that_are_no_tags_mark_the_note(content: str, line: str) -> None:
    (note,) = split_notes(content, {"joy", "calm"})
    assert (note.fault, note.example) == (("unread", line) if line else ("", ""))


@pytest.mark.parametrize(
    ("content", "scores"),
    [
        ("---\ntitle: A book\nrating: 4\n---\nWe swept.\njoy:9", {"joy": 9.0}),
        ("We swept.\nStrength: 7", {"strength": 7.0}),
        ("We swept.\njoy=9&regret=3", {"joy": 9.0, "regret": 3.0}),
        ("We swept.\njoy=9&copy=2", {"joy": 9.0, "copy": 2.0}),
    ],
)
def test_fields_of_scores_and_names_like_entities_are_tags(content: str, scores: dict[str, float]) -> None:
    notes = [note for note in split_notes(content, {"joy", "regret"}) if note.text]
    assert [(note.text, note.fault) for note in notes] == [("We swept.", "")]
    assert notes[0].tags is not None
    assert notes[0].tags.scores == scores


def test_a_line_with_two_readings_or_beyond_the_longest_is_not_read() -> None:
    assert near("joy: calm: 8", {"calm"}) == TagLine({"calm": 8.0})
    assert near("joy: calm: 8", {"joy", "calm"}) is None
    assert near("joy: 9".ljust(LONGEST_LINE)) == TagLine({"joy": 9.0})
    assert near("joy: 9".ljust(LONGEST_LINE + 1)) is None


def test_an_invisible_character_does_not_part_a_name() -> None:
    assert near("j\u200boy: 9, ca\u00adlm: 8") == TagLine({"joy": 9.0, "calm": 8.0})


def test_a_known_name_with_a_score_anywhere_in_a_text_is_a_label_inside() -> None:
    content = "It was joy:9 for me, and then we all went home.\nThe second line is plain."
    assert split_notes(content)[0].fault == ""
    assert split_notes(content, {"joy"})[0].fault == "unread"


def test_a_tag_line_in_the_middle_ends_a_note_and_a_line_in_its_form_goes() -> None:
    first, second = split_notes("First.\njoy:9\nSecond.\ncalm:8")
    assert (first.text, first.tags, second.text, second.tags) == (
        "First.",
        TagLine({"joy": 9.0}),
        "Second.",
        TagLine({"calm": 8.0}),
    )
    (note,) = split_notes("First.\nAttendees: 5\nSecond.\ncalm:8")
    assert (note.text, note.tags) == ("First.\nSecond.", TagLine({"calm": 8.0}))
    labelled, behind = split_notes("First.\njoy:9\nSecond.")
    assert (labelled.text, labelled.fault, behind.text, behind.fault) == ("First.", "", "Second.", "behind")


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
        "ratio 3:1",
        "The ratio was 9:1",
        "John 3:16",
        "Psalm 23:4-6",
        "Luke 2:1, 3:16",
        "https://example.org:8",
        "See http://a.example:8/x?joy=9",
        "http://example.org",
        "Woke at 7:30",
        "From 9:00 to 10:30",
        "Time: 10:30",
        "18:05 dep. platform 4",
        "Chapter 9",
        "Day 5",
        "Room 7, floor 2",
        "We won 3:1.",
        "Ajax 3 Feyenoord 2",
        "rated it 9/10",
        "It cost 9/10 of it",
        "Total: 250",
        "Call me at 020 7946 0018",
        "Version 3.10",
        "a:b",
        "warmth:nine",
        "One, two: three.",
        "At 9: tea.",
        "He said: 9 boats.",
        "Re: 9 boats came",
        "lat: 52.37, lon: -114.9 somewhere",
        "I was born on 2031-05-06",
        "2031-05-06",
        "Opus 9 no. 2",
        "Mix 1:4 with water.",
        "-:3",
        "_:3",
        ":3",
        "12:3",
        "5/10",
        "E: mail@example.org",
        "warmth:1_0",
        "a" * 5000 + ":9 and more",
        "...",
        "---",
    ],
)
def test_these_are_not_tag_lines(line: str) -> None:
    (note,) = split_notes(f"A note.\n{line}")
    assert (note.text, note.tags, note.fault) == (f"A note.\n{line}", None, "")


@settings(max_examples=40)
@given(st.integers(0, 23), st.integers(0, 59), st.sampled_from(["met at", "From", "by", "The train left at"]))
def test_a_time_is_no_tag(hour: int, minute: int, words: str) -> None:
    content = f"We swept the harbour.\n{words} {hour}:{minute:02}"
    assert split_tag_line(content) == (content, None)


def test_a_line_of_a_hundred_thousand_characters_is_read_in_no_time() -> None:
    for piece in ("a", "a:", "joy:9 ", "(", "9 ", "- ", "joy 9/10 "):
        split_notes(f"A note.\n{piece * (100_000 // len(piece))}", {"joy"})


def test_a_note_that_is_only_a_tag_line_has_no_text() -> None:
    assert split_tag_line("warmth:9") == ("", TagLine({"warmth": 9.0}))
    assert split_tag_line("") == ("", None)


def test_the_last_usable_score_of_a_name_counts() -> None:
    assert split_tag_line("x\nWarmth:9 warmth:3 WARMTH:11") == ("x", TagLine({"warmth": 3.0}, ("WARMTH:11",)))


@settings(max_examples=40)
@given(st.text())
def test_folding_a_name_twice_changes_nothing(name: str) -> None:
    assert fold_name(fold_name(name)) == fold_name(name)


def test_parsing_tags_does_not_import_the_http_client() -> None:
    code = "import sys, amygdala_tl.memory.tags; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
