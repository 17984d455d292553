"""A bundle from before a manifest named its corpus's parameters: it loads, says what it said, and scores as it did.

Every expected number is read from the two files themselves, without the code under test.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from amygdala_tl.readout.provenance import Verdict
from amygdala_tl.readout.record import load_readout

BUNDLE = Path(__file__).parent / "data" / "readout_0_1_0.safetensors"
SAID = json.loads(BUNDLE.with_suffix(".json").read_text())
ABOUT = SAID["amygdala_tl"]


@pytest.fixture(scope="module")
def readout():
    return load_readout(BUNDLE)


def test_the_bundle_is_as_it_was_written_then():
    assert ABOUT["model"]["versions"]["amygdala-tl"] == "0.1.0"
    assert "corpus" not in ABOUT


def test_it_has_its_concepts_layers_and_vectors(readout):
    tensors = load_file(BUNDLE)
    assert list(readout.concepts) == SAID["concepts"]
    assert list(readout.layers) == SAID["layers"]
    for place, layer in enumerate(SAID["layers"]):
        assert torch.equal(readout.vectors[place], tensors[f"layer_{layer}.vectors"].float())


def test_it_keeps_its_verdicts(readout):
    assert set(readout.verdicts) == set(ABOUT["verdicts"]) == set(SAID["concepts"])
    for concept, said in ABOUT["verdicts"].items():
        assert readout.verdicts[concept] == Verdict(**{**said, "interval": tuple(said["interval"])})
        assert readout.reading_layers[concept] == said["layer"]


def test_it_keeps_its_calibrations(readout):
    for name, calibration in (("texts", readout.text_calibration), ("tokens", readout.token_calibration)):
        said = ABOUT["calibration"][name]
        assert torch.equal(calibration.mean, torch.tensor(said["mean"]))
        assert torch.equal(calibration.std, torch.tensor(said["std"]))
        assert calibration.n == said["n"]


def test_it_says_where_it_comes_from(readout):
    said = readout.provenance
    assert (said.model.id, said.model.fingerprint) == (ABOUT["model"]["id"], ABOUT["model"]["fingerprint"])
    assert said.model.versions == ABOUT["model"]["versions"]
    assert said.method == ABOUT["estimator"]["method"]
    assert said.estimator == ABOUT["estimator"]
    assert list(said.denoisers) == ABOUT["denoisers"]
    assert said.capture.chat_template == ABOUT["capture"]["chat_template"]
    assert (said.read_position, said.corpus_sha256) == (ABOUT["read_position"], ABOUT["corpus_sha256"])
    assert (said.hooks, said.counts, said.corpus) == (ABOUT["hooks"], ABOUT["counts"], {})


def test_its_scores_and_z_are_those_of_a_plain_loop_over_its_files(readout):
    tensors = load_file(BUNDLE)
    streams = torch.randn(5, len(SAID["layers"]), SAID["hidden_size"], generator=torch.Generator().manual_seed(1))
    scores, of_texts, of_tokens = readout.scores(streams), readout.z(streams, of="texts"), readout.z(streams)
    of_long = readout.z(streams, of="texts", tokens=300)  # it does not know how scores vary with length
    for place, layer in enumerate(SAID["layers"]):
        for row, concept in enumerate(SAID["concepts"]):
            vector = tensors[f"layer_{layer}.vectors"][row].double()
            for text in range(5):
                score = float(streams[text, place].double() @ vector)
                assert float(scores[text, place, row]) == pytest.approx(score, abs=1e-5), concept
                for name, z in (("texts", of_texts), ("texts", of_long), ("tokens", of_tokens)):
                    said = ABOUT["calibration"][name]
                    expected = (score - said["mean"][place][row]) / said["std"][place][row]
                    assert float(z[text, place, row]) == pytest.approx(expected, abs=1e-4), concept


def test_saved_again_it_says_all_that_it_said(readout, tmp_path):
    again = json.loads(readout.save(tmp_path / "again.safetensors").with_suffix(".json").read_text())
    about = again.pop("amygdala_tl")
    assert again == {key: value for key, value in SAID.items() if key != "amygdala_tl"}
    new = {key: value for key, value in about["model"].items() if key not in ABOUT["model"]}
    assert new == {"weights": "as stored", "golden": "", "exact": "", "config": {}, "tokenizer": ""}
    unsaid = {"rendered": "", "read_position": "all", "store_dtype": "float32"}
    assert about["capture"] == ABOUT["capture"] | unsaid
    assert about["model"].items() >= ABOUT["model"].items()
    assert about["calibration"] == ABOUT["calibration"] | {"lengths": None}
    unknown = {"held_out": None}
    assert about["verdicts"] == {concept: said | unknown for concept, said in ABOUT["verdicts"].items()}
    for key in ABOUT.keys() - {"tensors_sha256", "model", "capture", "calibration", "verdicts"}:
        assert about[key] == ABOUT[key], key
    assert about["corpus"] == {}
