import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.corpus.labels import LabelRules, count_mentions, polarity
from amygdala_tl.errors import InputError

PLAIN = "The kettle was on when she came in from the rain."


@given(
    score=st.floats(0, 10),
    threshold=st.floats(0.5, 10),
    low=st.floats(0, 10),
)
def test_polarity_changes_exactly_at_the_two_thresholds(score: float, threshold: float, low: float) -> None:
    low = min(low, math.nextafter(threshold, 0))
    rules = LabelRules(min_positive_score=threshold, max_negative_score=low)
    found = polarity("warmth", PLAIN, {"warmth": score}, rules)
    assert found == ("positive" if score >= threshold else "negative" if score <= low else None)


@pytest.mark.parametrize(
    ("score", "expected"), [(8.0, "positive"), (math.nextafter(8.0, 0), None), (0.0, "negative"), (5e-324, None)]
)
def test_default_thresholds_include_eight_and_zero(score: float, expected: str | None) -> None:
    assert polarity("warmth", PLAIN, {"warmth": score, "grief": 3.0}, LabelRules()) == expected


def test_a_tagged_text_that_lacks_the_tag_is_a_negative() -> None:
    assert polarity("warmth", PLAIN, {"grief": 9.0}, LabelRules()) == "negative"


def test_a_text_without_tags_is_never_an_example() -> None:
    assert polarity("warmth", PLAIN, {}, LabelRules()) is None


@given(mentions=st.integers(0, 5), allowed=st.integers(0, 5))
def test_a_negative_may_name_the_concept_only_so_often(mentions: int, allowed: int) -> None:
    rules = LabelRules(max_negative_mentions=allowed)
    found = polarity("warmth", f"{PLAIN} " + "No warmth. " * mentions, {"grief": 9.0}, rules)
    assert found == ("negative" if mentions <= allowed else None)


def test_a_positive_may_name_the_concept() -> None:
    assert polarity("warmth", "warmth, only warmth", {"warmth": 9.0}, LabelRules()) == "positive"


@pytest.mark.parametrize(
    ("text", "concept", "count"),
    [
        ("Warmth, WARMTH and warmths", "warmth", 2),
        ("lukewarmth is no match", "warmth", 0),
        ("_warmth_ and **warmth**", "warmth", 2),
        ("quiet joy, quiet-joy, quiet_joy, quiet\njoy, quietjoy", "quiet-joy", 4),
        ("quiet joy and quiet-joy", "quiet_joy", 2),
        ("joy joy", "joy", 2),
        ("STRASSE und straße", "strasse", 2),
        ("cafe\u0301 and caf\u00e9", "caf\u00e9", 2),
        ("joy2 or 2joy", "joy", 0),
        ("a+b", "a", 1),
    ],
)
def test_mentions_are_whole_words_in_any_case(text: str, concept: str, count: int) -> None:
    assert count_mentions(text, concept) == count


@given(st.text(max_size=80), st.from_regex(r"[a-z]{1,4}([-_][a-z]{1,3})?", fullmatch=True))
def test_naming_a_concept_once_more_adds_one_mention(text: str, concept: str) -> None:
    assert count_mentions(f"{text} . {concept.upper()}", concept) == count_mentions(text, concept) + 1


@pytest.mark.parametrize(
    ("text", "concept", "count"),
    [
        ("\u4eca\u5929\u6211\u611f\u5230\u559c\u60a6\u548c\u5e73\u9759\u3002", "\u559c\u60a6", 1),
        (
            "\u4eca\u65e5\u306f\u559c\u3073\u3067\u3044\u3063\u3071\u3044\u3060\u3001\u559c\u3073\u3060",
            "\u559c\u3073",
            2,
        ),
        (
            "\u0e27\u0e31\u0e19\u0e19\u0e35\u0e49\u0e09\u0e31\u0e19\u0e21\u0e35\u0e04\u0e27\u0e32\u0e21\u0e2a\u0e38\u0e02\u0e21\u0e32\u0e01",
            "\u0e04\u0e27\u0e32\u0e21\u0e2a\u0e38\u0e02",
            1,
        ),
        ("\uc624\ub298 \uae30\uc068\uc744 \ub290\uaf08\ub2e4", "\uae30\uc068", 1),
        ("\u4eca\u65e5\u306fjoy\u3060", "joy", 1),
        ("enjoyment, joyful", "joy", 0),
        ("_joy_ and joy's", "joy", 2),
    ],
)
def test_a_name_is_mentioned_where_words_are_not_separated(text: str, concept: str, count: int) -> None:
    assert count_mentions(text, concept) == count


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"min_positive_score": 11.0}, "min_positive_score"),
        ({"min_positive_score": math.nan}, "min_positive_score"),
        ({"max_negative_score": 8.0}, "max_negative_score"),
        ({"max_negative_score": -1.0}, "max_negative_score"),
        ({"max_negative_mentions": -1}, "max_negative_mentions"),
        ({"min_content_chars": -1}, "min_content_chars"),
        ({"min_examples": 0}, "min_examples"),
        ({"max_examples_per_emotion": 4}, "max_examples_per_emotion"),
        ({"heldout_fraction": 1.0}, "heldout_fraction"),
        ({"top_emotions": 0}, "top_emotions"),
        ({"emotions": ()}, "emotions"),
        ({"emotions": ("joy", "quiet joy")}, "emotions"),
        ({"emotions": ("joy,",)}, "emotions"),
        ({"emotions": ("",)}, "emotions"),
        ({"node_types": ()}, "node_types"),
    ],
)
def test_a_rule_out_of_its_range_is_refused_by_the_name_of_its_flag(options: dict[str, object], flag: str) -> None:
    with pytest.raises(InputError, match=flag):
        LabelRules(**options)  # type: ignore[arg-type]


def test_names_in_any_case_and_script_can_be_asked_for() -> None:
    assert LabelRules(emotions=("Quiet-Joy", "été", "self_doubt")).emotions == ("Quiet-Joy", "été", "self_doubt")
