"""Settings of the plugin, from the environment."""

from pathlib import Path

import pytest

from amygdala_tl.errors import InputError
from amygdala_tl.vllm.settings import read_settings

ON = {"VLLM_READOUT_VECTORS": "r.safetensors", "VLLM_READOUT_MANIFEST": "r.json"}


def test_readouts_are_off_without_a_bundle_and_keep_texts_to_themselves_with_one():
    assert read_settings({}) is None
    found = read_settings(ON)
    assert (found.vectors, found.manifest) == (Path("r.safetensors"), Path("r.json"))
    assert (found.key, found.with_text, found.steers) == (None, False, False)


def test_a_key_does_not_show_in_messages_and_one_that_no_header_carries_is_refused():
    found = read_settings(ON | {"VLLM_READOUT_KEY": "opensesame"})
    assert found.key == "opensesame"
    assert "opensesame" not in repr(found)
    for wrong in ("", "  ", "two words", "schlüssel", "a\n"):
        with pytest.raises(InputError, match="VLLM_READOUT_KEY: no header can carry"):
            read_settings(ON | {"VLLM_READOUT_KEY": wrong})


@pytest.mark.parametrize(("value", "on"), [("1", True), ("true", True), ("0", False), ("", False), ("off", False)])
def test_text_is_shown_requests_steer_and_spans_name_concepts_only_where_it_is_asked_for(value, on):
    assert read_settings(ON | {"VLLM_READOUT_STREAM_TEXT": value}).with_text is on
    assert read_settings(ON | {"VLLM_READOUT_STEER": value}).steers is on
    assert read_settings(ON | {"VLLM_READOUT_TRACES": value}).traces is on


@pytest.mark.parametrize("wrong", ["", "any", "nan", "inf", "0", "-1"])
def test_a_tolerance_is_a_positive_number(wrong):
    assert read_settings(ON).tolerance is None
    assert read_settings(ON | {"VLLM_READOUT_TOLERANCE": "0.5"}).tolerance == 0.5
    with pytest.raises(InputError, match=r"VLLM_READOUT_TOLERANCE: not a tolerance .* such as 0\.5"):
        read_settings(ON | {"VLLM_READOUT_TOLERANCE": wrong})


def test_the_variable_that_the_tolerance_replaces_is_named_with_what_to_do():
    with pytest.raises(InputError, match=r"VLLM_READOUT_ANY_MODEL is no longer known. Set VLLM_READOUT_TOLERANCE"):
        read_settings(ON | {"VLLM_READOUT_ANY_MODEL": "1"})


def test_alerts_are_rules_with_commas_between_or_a_file(tmp_path):
    assert read_settings(ON).rules == read_settings(ON | {"VLLM_READOUT_ALERTS": ""}).rules == ()
    (tmp_path / "alerts.toml").write_text(
        "[[alert]]\nconcept = 'grief'\nabove = 3\n[[alert]]\nconcept = 'joy'\nabove = 2\n"
    )
    for said in ("grief>3, joy>2@window=64", str(tmp_path / "alerts.toml")):
        rules = read_settings(ON | {"VLLM_READOUT_ALERTS": said}).rules
        assert [str(rule) for rule in rules] == ["grief>3@window=64", "joy>2@window=64"]
    with pytest.raises(InputError, match="not a rule"):
        read_settings(ON | {"VLLM_READOUT_ALERTS": "grief"})
    found = read_settings(ON | {"VLLM_READOUT_ALERT_WEBHOOK": "http://user:opensesame@host/"})
    assert found.webhook == "http://user:opensesame@host/"
    assert "opensesame" not in repr(found)


def test_concepts_with_metrics_are_names_with_commas_between():
    assert read_settings(ON).metrics_concepts == ()
    assert read_settings(ON | {"VLLM_READOUT_METRICS_CONCEPTS": "grief,joy,"}).metrics_concepts == ("grief", "joy")
