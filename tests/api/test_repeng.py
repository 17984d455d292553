"""Control vectors pass between readouts and the installed repeng, through files, with the same layers and the same effect."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import amygdala_tl as at

TEXT = "The lamp went out, and nobody lit it again."
LAYERS, DOSE = [1, 2], 0.3


@pytest.fixture(scope="module")
def repeng():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            np, "float_", np.float64, raising=False
        )  # repeng 0.4.0 names it in an annotation; NumPy 2 has not
        reason = "repeng is not installed: pip install --no-deps repeng==0.4.0"
        return pytest.importorskip("repeng", reason=reason)


@pytest.fixture
def model(repeng, tiny_checkpoint):
    """The tiny model as Hugging Face loads it, wrapped by repeng."""
    wrapped = repeng.ControlModel(AutoModelForCausalLM.from_pretrained(tiny_checkpoint("llama")), LAYERS)
    yield wrapped
    wrapped.unwrap()


def logits(model, tokens):
    with torch.no_grad():
        return model(tokens).logits


def test_repeng_reads_and_steers_with_a_file_of_ours_as_intervene_does(repeng, model, tiny, tmp_path):
    generator = torch.Generator().manual_seed(0)
    readout = at.Readout.from_directions({"joy": {layer: torch.randn(64, generator=generator) for layer in LAYERS}})
    at.export(readout, tmp_path / "joy.gguf", tiny)
    vector = repeng.ControlVector.import_gguf(tmp_path / "joy.gguf")
    assert vector.model_type == model.config.model_type == "llama"
    ours = at.control_vector(readout, "joy", tiny)
    assert vector.directions.keys() == ours.keys() == set(LAYERS)
    for layer, direction in ours.items():
        np.testing.assert_array_equal(vector.directions[layer], direction.numpy())
    tokens = tiny.tokenizer(TEXT, return_tensors="pt").input_ids
    plain = logits(model, tokens)
    model.set_control(vector, DOSE)
    steered = logits(model, tokens)
    with at.intervene(tiny, {layer: at.Add(readout.direction("joy", layer), dose=DOSE) for layer in LAYERS}):
        torch.testing.assert_close(steered, tiny.model(tokens).detach(), rtol=1e-3, atol=1e-3)
    assert (steered - plain).abs().max() > 0.1


def test_a_file_that_repeng_writes_of_its_own_training_becomes_a_readout(repeng, model, tiny, tmp_path):
    sides = [("I am so glad today.", "I am so sad today."), ("What a lovely day it was.", "What an awful day it was.")]
    pairs = [repeng.DatasetEntry(positive=positive, negative=negative) for positive, negative in sides]
    trained = repeng.ControlVector.train(model, tiny.tokenizer, pairs)
    trained.export_gguf(tmp_path / "joy.gguf")
    readout = at.load_readout(tmp_path / "joy.gguf")
    assert set(readout.layers) == trained.directions.keys()
    for layer, direction in trained.directions.items():
        unit = torch.from_numpy(direction / np.linalg.norm(direction)).float()
        torch.testing.assert_close(readout.direction("joy", layer), unit)
