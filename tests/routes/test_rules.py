"""Rules of alerts: text and TOML say the same, and what is no rule is one message."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.routes.rules import MOST_RULES, Rule, caution, checked_rules, rule_of, rules_of_file, rules_of_text
from amygdala_tl.routes.webhook import check_webhook
from tests.readout.example import a_readout

NAMES = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Z"], exclude_characters=">@,=`"), min_size=1, max_size=20
)
RULES = st.builds(
    Rule,
    concept=NAMES,
    above=st.floats(-1e6, 1e6),
    window=st.integers(1, 4096),
    layer=st.none() | st.integers(0, 500),
)


@given(RULES)
def test_a_rule_survives_its_own_text(rule):
    assert rule_of(str(rule)) == rule
    assert rules_of_text(f"{rule},{rule}") == (rule, rule)


def test_text_and_toml_say_the_same(tmp_path):
    path = tmp_path / "alerts.toml"
    path.write_text(
        '[[alert]]\nconcept = "grief"\nabove = 3\n\n[[alert]]\nconcept = "joy"\nabove = 2.5\nwindow = 16\nlayer = 10\n'
    )
    found = rules_of_file(path)
    assert found == rules_of_text(" grief > 3 , joy>2.5@layer=10@window=16") == rules_of_text(str(path))
    assert [str(rule) for rule in found] == ["grief>3@window=64", "joy>2.5@window=16@layer=10"]


@pytest.mark.parametrize(
    "text",
    [
        "grief", "grief>", ">3", "a>b>3", "grief>high", "grief>nan", "grief>inf", "grief>3@window", "grief>3@window=0",
        "grief>3@window=5000", "grief>3@window=6.5", "grief>3@width=6", "grief>3@window=6@window=7", "grief>3@layer=last",
        "grief>3@concept=joy",
    ],
)  # fmt: skip
def test_a_text_that_is_no_rule_is_refused(text):
    with pytest.raises(InputError):
        rule_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "alert = 3", "[[alert]]\n[[[", "[[alerts]]\nconcept = 'a'\nabove = 1", "[[alert]]\nconcept = 'a'",
        "[[alert]]\nconcept = 'a'\nabove = nan", "[[alert]]\nconcept = 'a'\nabove = 1\nwidth = 3",
    ],
)  # fmt: skip
def test_a_file_that_holds_no_rules_is_refused_by_its_name(tmp_path, text):
    path = tmp_path / "alerts.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"alerts\.toml"):
        rules_of_text(str(path))


def test_rules_are_checked_against_the_readout():
    readout = a_readout()
    assert checked_rules([Rule("GRIEF", 3), Rule("grief", 3)], readout) == (Rule("grief", 3.0),)
    for rule in (Rule("envy", 3), Rule("grief", 3, layer=4)):
        with pytest.raises(InputError):
            checked_rules([rule], readout)
    with pytest.raises(InputError, match="too many alerts"):
        checked_rules([Rule("grief", 3)] * (MOST_RULES + 1), readout)
    with pytest.raises(ReadoutError, match="@layer"):
        checked_rules([Rule("grief", 3)], replace(readout, combined=None))
    with pytest.raises(ReadoutError, match="no calibration of tokens"):
        checked_rules([Rule("grief", 3, layer=3)], replace(readout, token_calibration=None, length_calibration=None))
    assert checked_rules([Rule("grief", 3, layer=3)], replace(readout, combined=None))


def test_a_readout_without_a_calibration_of_lengths_is_cautioned_about_windows_alone():
    readout = replace(a_readout(), length_calibration=None)
    assert caution([Rule("grief", 3)], readout) is None, "the sum over layers has its own"
    assert "deviations of single tokens" in caution([Rule("grief", 3, layer=3)], readout)
    assert caution([Rule("grief", 3, window=1, layer=3)], readout) is None


def test_a_webhook_is_an_address_for_some_alert():
    check_webhook(None, 0)
    check_webhook("http://127.0.0.1:1/hook", 1)
    for url, n_rules in (("http://127.0.0.1:1/hook", 0), ("ftp://host/", 1), ("nowhere", 1)):
        with pytest.raises(InputError):
            check_webhook(url, n_rules)
