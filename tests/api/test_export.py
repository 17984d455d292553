"""`export` and `control_vector`: which vectors they take, in which units, and what is refused."""

from dataclasses import replace

import pytest
import torch

import amygdala_tl as at
from amygdala_tl.errors import InputError, StorageError
from amygdala_tl.lens.decoder import decoder_of
from amygdala_tl.readout.control_vector import read_control_vector
from amygdala_tl.steering.norms import mean_norms
from tests.cli.conftest import run

LAYERS = (1, 3)


@pytest.fixture(scope="module")
def readout(tiny):
    """Random directions of two concepts, with others to write."""
    shape, generator = (len(LAYERS), 2, tiny.info.d_model), torch.Generator().manual_seed(0)
    read, write = (torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=-1) for _ in range(2))
    about = at.Readout.from_directions({"joy": {1: read[0, 0]}}).provenance
    return at.Readout(("joy", "awe"), LAYERS, read, provenance=replace(about, writer="mean"), write_vectors=write)


def test_a_control_vector_is_one_mean_residual_norm_of_the_direction_to_steer_with(tiny, readout, tmp_path):
    vectors = at.control_vector(readout, "awe", tiny)
    norms = mean_norms(decoder_of(tiny), LAYERS)
    for layer in LAYERS:
        torch.testing.assert_close(vectors[layer], norms[layer] * readout.write_direction("awe", layer))
    reading = replace(readout, write_vectors=None, provenance=replace(readout.provenance, writer=None))
    for layer, vector in at.control_vector(reading, "awe", tiny).items():
        torch.testing.assert_close(vector, norms[layer] * readout.direction("awe", layer))
    written = read_control_vector(at.export(readout.of_concepts(["awe"]), tmp_path / "awe.gguf", tiny))
    assert list(written) == list(LAYERS)
    for layer, vector in written.items():
        torch.testing.assert_close(torch.from_numpy(vector), vectors[layer])


def test_adding_a_control_vector_is_a_dose_of_1(tiny, readout):
    ids = torch.tensor([[5, 9, 30, 31, 7, 90]])
    vector = at.control_vector(readout, "joy", tiny)[1]

    def logits(edit):
        with at.intervene(tiny, {1: edit}), torch.no_grad():
            return tiny.model(ids)

    by_dose = logits(at.Add(readout.write_direction("joy", 1), dose=1.0))
    by_amount = logits(at.Add(vector / vector.norm(), amount=float(vector.norm())))
    torch.testing.assert_close(by_dose, by_amount, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_exported_is_refused_and_leaves_the_file(tiny, readout, tmp_path):
    with pytest.raises(InputError, match="of one concept"):
        at.export(readout, tmp_path / "both.gguf", tiny)
    with pytest.raises(InputError, match=r"end in \.safetensors"):
        at.export(readout, tmp_path / "joy.bin", tiny)
    (tmp_path / "model.gguf").write_bytes(b"GGUF of something else")
    with pytest.raises(StorageError, match="a control vector should be"):
        at.export(readout.of_concepts(["joy"]), tmp_path / "model.gguf", tiny)
    assert (tmp_path / "model.gguf").read_bytes() == b"GGUF of something else"


def test_the_command_writes_what_the_verb_writes_and_reads_it_back(tiny, tiny_checkpoint, readout, tmp_path, capsys):
    bundle, file, back = (tmp_path / name for name in ("readout.safetensors", "joy.gguf", "back.safetensors"))
    readout.save(bundle)
    model = ("--model", tiny_checkpoint("llama"))
    code, out, _ = run(capsys, "export", "--readout", bundle, "--concept", "JOY", "--output", file, *model)
    assert (code, out.split()[:2]) == (0, ["control", "vector"])
    again = at.export(at.load_readout(bundle).of_concepts(["joy"]), tmp_path / "again.gguf", tiny)
    assert again.read_bytes() == file.read_bytes()
    code, out, _ = run(capsys, "verify", "--readout", file, *model)
    assert code == 0
    assert "verified: every layer is the same layer" in out
    assert "serve it with vLLM" not in out  # which takes bundles only
    assert run(capsys, "export", "--readout", file, "--output", back)[0] == 0
    loaded = at.load_readout(back)
    for layer in LAYERS:
        cosine = float(loaded.direction("joy", layer) @ readout.write_direction("joy", layer))
        assert cosine == pytest.approx(1, abs=1e-4)
    assert run(capsys, "export", "--readout", bundle, "--output", file, *model)[0] == 2
    assert run(capsys, "export", "--readout", file, "--output", file, *model)[0] == 2
    assert again.read_bytes() == file.read_bytes()
