"""Whatever a server sends is a record of the right shape or one kind of error, never another exception."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.errors import LiveUnreachable
from amygdala_tl.live.answers import generated_of, sequences_of, served_of
from tests.live.readout_server import event, manifest

SAID = manifest(["joy", "grief"], [3, 7, 9])
SERVED = served_of(SAID, "here")
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def damaged(whole):
    """`whole` with one or two of its values replaced, at any depth that an answer has."""
    keys = st.sampled_from(sorted(whole))
    return st.dictionaries(keys, JSON, min_size=0, max_size=2).map(lambda wrong: whole | wrong)


EVENT = damaged(event(SAID, "x", lambda layer, concept: layer + concept, n=2))
CALIBRATION = damaged({"mean": [[0.0] * 2] * 3, "std": [[1.0] * 2] * 3, "n": 3})
PROVENANCE = damaged(SAID["amygdala_tl"]) | CALIBRATION.map(
    lambda tokens: SAID["amygdala_tl"] | {"calibration": {"tokens": tokens}}
)
SEQUENCE = damaged(
    {
        "request_id": "r",
        "index": 0,
        "finished": True,
        "prompt_tokens": 1,
        "token_ids": [1, 2],
        "readout": [[[1.0, 2.0]] * 3, None],
    }
)


@given(JSON | damaged(SAID) | PROVENANCE.map(lambda said: SAID | {"amygdala_tl": said}))
def test_a_manifest_is_whole_or_refused(said):
    try:
        served = served_of(said, "here")
    except LiveUnreachable:
        return
    shape = (len(served.layers), len(served.concepts))
    if served.calibrated:
        assert served.mean.shape == served.std.shape == shape
        assert np.isfinite(served.z(np.zeros(shape, dtype=np.float32))).all()


@given((JSON | EVENT).map(json.dumps) | st.text(max_size=20))
def test_an_event_is_whole_or_refused(data):
    try:
        found = generated_of(data, SERVED, "here")
    except LiveUnreachable:
        return
    assert found.scores.shape == (len(found.token_ids), 3, 2)


@given(JSON | damaged({"layers": [1, 2, 3], "concepts": ["a", "b"], "sequences": []}) | SEQUENCE.map(
    lambda sequence: {"layers": [1, 2, 3], "concepts": ["a", "b"], "sequences": [sequence]}
))  # fmt: skip
def test_a_requests_answer_is_whole_or_refused(said):
    try:
        found = sequences_of(said, "here")
    except LiveUnreachable:
        return
    for sequence in found:
        assert sequence.scores.shape == (len(sequence.token_ids), len(said["layers"]), len(said["concepts"]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"token_ids": [1.0, float("inf")]},
        {"first": float("nan")},
    ],
)
def test_values_that_are_not_numbers_are_refused(wrong):
    with pytest.raises(LiveUnreachable, match="here, an event of the stream: "):
        generated_of(json.dumps(event(SAID, "x", lambda *_: 1.0, n=2) | wrong), SERVED, "here")


def test_a_calibration_beyond_all_numbers_is_refused():
    wrong = {"mean": [[10**400] * 2] * 3, "std": [[1.0] * 2] * 3, "n": 3}
    with pytest.raises(LiveUnreachable, match="here: "):
        served_of(SAID | {"amygdala_tl": {"format_version": 1, "calibration": {"tokens": wrong}}}, "here")


def test_a_server_that_keeps_texts_to_itself_sends_scores_alone():
    said = event(SAID, "x", lambda layer, concept: layer + concept, n=2)
    del said["token_ids"], said["text"]
    found = generated_of(json.dumps(said), SERVED, "here")
    assert (found.token_ids, found.text, found.scores.shape) == ((), "", (2, 3, 2))
    sequence = {
        "request_id": "r",
        "index": 0,
        "finished": True,
        "prompt_tokens": 1,
        "readout": [[[1.0, 2.0]] * 3, None],
    }
    (kept,) = sequences_of({"layers": [1, 2, 3], "concepts": ["a", "b"], "sequences": [sequence]}, "here")
    assert (kept.token_ids, kept.scores.shape) == ((), (2, 3, 2))
