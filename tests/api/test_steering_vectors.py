"""Vectors pass between readouts and the installed steering-vectors with the same layers and the same effect."""

import pytest
import torch
from transformers import AutoModelForCausalLM

import amygdala_tl as at

TEXT = "The lamp went out, and nobody lit it again."
DOSE = 0.3


@pytest.fixture(scope="module")
def theirs():
    reason = "steering-vectors is not installed: pip install --no-deps steering-vectors==0.12.2"
    return pytest.importorskip("steering_vectors", reason=reason)


@pytest.fixture(scope="module")
def hf_model(tiny_checkpoint):
    """The tiny model as Hugging Face loads it."""
    return AutoModelForCausalLM.from_pretrained(tiny_checkpoint("llama"))


def logits(model, tokens):
    with torch.no_grad():
        return model(tokens).logits


def test_a_readout_steers_through_steering_vectors_as_through_intervene(theirs, tiny, hf_model):
    generator = torch.Generator().manual_seed(0)
    readout = at.Readout.from_directions({"joy": {layer: torch.randn(64, generator=generator) for layer in (0, 2)}})
    tokens = tiny.tokenizer(TEXT, return_tensors="pt").input_ids
    vector = theirs.SteeringVector(at.control_vector(readout, "joy", tiny))
    with vector.apply(hf_model, multiplier=DOSE):
        steered = logits(hf_model, tokens)
    edits = {layer: at.Add(readout.direction("joy", layer), dose=DOSE) for layer in readout.layers}
    with at.intervene(tiny, edits), torch.no_grad():
        ours = tiny.model(tokens)
    torch.testing.assert_close(steered, ours, rtol=1e-3, atol=1e-3)
    assert (steered - logits(hf_model, tokens)).abs().max() > 0.1


def test_a_vector_of_steering_vectors_becomes_a_readout_with_its_layers(theirs, tiny, hf_model):
    pairs = [("I am so glad today.", "I am so sad today."), ("What a lovely day it was.", "What an awful day it was.")]
    vector = theirs.train_steering_vector(hf_model, tiny.tokenizer, pairs, layers=[1, 3], show_progress=False)
    readout = at.Readout.from_directions({"joy": vector.layer_activations})
    assert readout.layers == (1, 3)
    tokens = tiny.tokenizer(TEXT, return_tensors="pt").input_ids
    with vector.apply(hf_model):
        steered = logits(hf_model, tokens)
    amounts = {layer: float(of.norm()) for layer, of in vector.layer_activations.items()}
    edits = {layer: at.Add(readout.direction("joy", layer), amount=amount) for layer, amount in amounts.items()}
    with at.intervene(hf_model, edits):
        torch.testing.assert_close(logits(hf_model, tokens), steered, rtol=1e-3, atol=1e-3)
    assert (steered - logits(hf_model, tokens)).abs().max() > 1e-2
