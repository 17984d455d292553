"""Whatever a server sends is a record of the right shape or one kind of error, never another exception."""

import contextlib
import json
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.errors import LiveUnreachable
from amygdala_tl.live.answers import generated_of, sequences_of, served_of
from amygdala_tl.settings import ServerLimits
from tests.live.readout_server import event, manifest
from tests.readout.example import a_readout

SAID = manifest(["joy", "grief"], [3, 7, 9])
SERVED = served_of(json.dumps(SAID).encode(), "here")
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
        served = served_of(json.dumps(said).encode(), "here")
    except LiveUnreachable:
        return
    shape = (len(served.layers), len(served.concepts))
    if served.calibrated:
        assert served.mean.shape == served.std.shape == shape
        assert np.isfinite(served.z(np.zeros(shape, dtype=np.float32))).all()


def test_z_of_a_window_is_that_of_the_readout_itself(tmp_path):
    readout = a_readout()
    data = readout.save(tmp_path / "readout.safetensors").with_suffix(".json").read_bytes()
    scores = torch.randn(4, len(readout.layers), len(readout.concepts))
    for tokens in (1, 64):
        z = served_of(data, "here").z(scores.numpy(), tokens=tokens)
        expected = readout.calibrated(scores, of="tokens", tokens=tokens)
        torch.testing.assert_close(torch.tensor(z).float(), expected)


def test_the_score_over_all_layers_is_that_of_the_readout_itself(tmp_path):
    readout = a_readout()
    data = readout.save(tmp_path / "readout.safetensors").with_suffix(".json").read_bytes()
    scores = torch.randn(4, len(readout.layers), len(readout.concepts))
    for tokens in (1, 64):
        z = served_of(data, "here").combined.z(scores.numpy(), tokens=tokens)
        torch.testing.assert_close(torch.tensor(z), readout.combined_z(scores, of="tokens", tokens=tokens))
    assert SERVED.combined is None


def test_the_score_over_all_layers_is_the_servers_or_else_the_sum_of_its_scores():
    said = manifest(["joy", "grief"], [3, 7, 9], combined=True)
    served, one = (
        served_of(json.dumps(said).encode(), "here"),
        event(said, "x", lambda layer, concept: layer + concept, n=2),
    )
    assert generated_of(json.dumps(one), served, "here").combined.tolist() == [[1.5, 3.0]] * 2
    found = generated_of(json.dumps(one | {"readout_combined": [[1.0, None], None]}), served, "here").combined
    np.testing.assert_array_equal(found, [[1, np.nan], [np.nan, np.nan]])
    assert generated_of(json.dumps(event(SAID, "x")), SERVED, "here").combined is None
    for wrong in ([[1.0, 2.0]], [[1.0]] * 2, [[[1.0, 2.0]]] * 2):
        with pytest.raises(LiveUnreachable):
            generated_of(json.dumps(one | {"readout_combined": wrong}), served, "here")


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
        found = sequences_of(json.dumps(said), "here")
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
    about = {"format_version": 1, "calibration": {"tokens": wrong}}
    with pytest.raises(LiveUnreachable, match="here: "):
        served_of(json.dumps(SAID | {"amygdala_tl": about}).encode(), "here")


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
    (kept,) = sequences_of(json.dumps({"layers": [1, 2, 3], "concepts": ["a", "b"], "sequences": [sequence]}), "here")
    assert (kept.token_ids, kept.scores.shape) == ((), (2, 3, 2))


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_bytes_of_any_kind_are_an_answer_or_refused(data):
    for read in (
        lambda: served_of(data, "here"),
        lambda: generated_of(data, SERVED, "here"),
        lambda: sequences_of(data, "here"),
    ):
        with contextlib.suppress(LiveUnreachable):
            read()


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "wrong", [DEEP, json.dumps(event(SAID, "x", n=1)).replace("[null]", f"[{DEEP}]"), '{"first": ' + "9" * 5000 + "}"]
)
def test_deep_json_and_endless_numbers_are_refused(wrong):
    for read in (
        generated_of,
        lambda data, _, label: sequences_of(data, label),
        lambda data, _, label: served_of(data.encode(), label),
    ):
        with pytest.raises(LiveUnreachable):
            read(wrong, SERVED, "here")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "null"])
def test_scores_that_are_not_finite_are_gaps_and_texts_that_say_so_stay(literal):
    said = json.dumps(event(SAID, 'a "NaN" \\', lambda *_: 5.0, n=2)).replace("[[5.0, 5.0]", f"[[5.0, {literal}]", 1)
    found = generated_of(said, SERVED, "here")
    assert found.text == 'a "NaN" \\'
    assert np.isnan(found.scores).sum() == 1
    assert np.isnan(found.scores[0, 0, 1])


def test_sizes_are_checked_before_memory_is_taken():
    nulls = json.dumps(event(SAID, "x", n=1000))
    tracemalloc.start()
    with pytest.raises(LiveUnreachable, match="1,000 tokens of 3 layers and 2 concepts take 24,000 bytes"):
        generated_of(nulls, SERVED, "here", ServerLimits(array_bytes=23_999))
    generated_of(nulls, SERVED, "here", ServerLimits(array_bytes=24_000))
    served_of(json.dumps(SAID).encode(), "here", ServerLimits(row_values=6))
    sequence = {"request_id": "r", "index": 0, "finished": True, "prompt_tokens": 0, "readout": [None] * 1000}
    wide = {"layers": list(range(10_000)), "concepts": ["a"] * 20_000, "sequences": [sequence, sequence]}
    with pytest.raises(LiveUnreachable, match="1,600,000,000,000 bytes"):
        sequences_of(json.dumps(wide), "here")
    wide = manifest([f"concept {number}" for number in range(2000)], list(range(100)), calibrated=False)
    with pytest.raises(LiveUnreachable, match=r"100 layers of 2,000 concepts.*at most 131,072 scores of a token"):
        served_of(json.dumps(wide).encode(), "here")
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


@pytest.mark.parametrize(("mean", "std"), [(1e300, 1.0), (0.0, 1e-300), (0.0, 1e300)])
def test_a_calibration_that_float32_cannot_hold_is_refused(mean, std):
    table = {"mean": [[mean] * 2] * 3, "std": [[std] * 2] * 3, "n": 3}
    about = SAID["amygdala_tl"] | {"calibration": {"tokens": table}}
    with pytest.raises(LiveUnreachable, match="beyond the range of float32"):
        served_of(json.dumps(SAID | {"amygdala_tl": about}).encode(), "here")
