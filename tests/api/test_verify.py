"""`verify` with a model in hand: processed, changed, or without a stored checkpoint."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from amygdala_tl.api.models import check_fit
from amygdala_tl.api.verify import verify
from amygdala_tl.errors import ReadoutError
from amygdala_tl.lens.engines import has_hooked_transformer
from amygdala_tl.lens.model import load_model
from amygdala_tl.lens.wrap import exported, wrap
from amygdala_tl.readout.provenance import Provenance
from amygdala_tl.readout.record import Readout, load_readout
from tests.vllm.bundles import write_bundle

TYPES = ["gpt2", "llama"]
ENGINES = [*(["HookedTransformer"] if has_hooked_transformer() else []), "TransformerBridge"]


def processed(folder, engine):
    """A model as TransformerLens processes it by default, wrapped."""
    model = load_model(str(folder), device="cpu", engine=engine).model
    if engine == "HookedTransformer":
        model.process_weights_()
    else:
        model.enable_compatibility_mode(disable_warnings=True)
    return wrap(model, AutoTokenizer.from_pretrained(folder))


def readout_of(lens, layers=(0, 2, 3), hooks=None):
    """A readout of random vectors as `fit` exports them for a model."""
    vectors = torch.randn(len(layers), 2, lens.info.d_model, generator=torch.Generator().manual_seed(0))
    vectors = exported(vectors / vectors.norm(dim=-1, keepdim=True), lens.info)
    return Readout(("awe", "calm"), layers, vectors, provenance=Provenance(model=lens.info, hooks=hooks or {}))


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_processed_model_passes_and_a_shifted_layer_does_not(engine, model_type, tiny_checkpoint):
    lens = processed(tiny_checkpoint(model_type), engine)
    found = verify(readout_of(lens), lens, engine="hf")
    assert found.passed, found
    assert max(check.difference for check in found.checks) < 1e-5
    shifted = verify(readout_of(lens, hooks={"2": "blocks.1.hook_resid_post"}), lens, engine="hf")
    assert [check.passed for check in shifted.checks] == [True, False, True]
    assert shifted.checks[1].finding == "layer 2 of the bundle matches Hugging Face layer 1"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_readout_of_a_processed_model_passes_through_the_stored_one_and_back(engine, tiny_checkpoint):
    folder = tiny_checkpoint("gpt2")
    raw, centred = load_model(str(folder), device="cpu"), processed(folder, engine)
    readout = readout_of(centred)
    assert verify(readout, raw, engine="hf").passed
    assert verify(readout, model=str(folder), engine="hf").passed
    check_fit(replace(readout, provenance=Provenance(model=raw.info)), centred)
    with pytest.raises(ReadoutError, match="reads the mean"):
        verify(readout_of(raw), centred, engine="hf")


@pytest.mark.parametrize("layers", [(0, 3), (0,)])
def test_changed_weights_are_named_as_the_cause(layers, tiny_checkpoint):
    folder = tiny_checkpoint("llama")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        model.model.layers[2].mlp.down_proj.weight.mul_(1.2)
    lens = wrap(model, AutoTokenizer.from_pretrained(folder))
    found = verify(readout_of(lens, layers), lens, engine="hf")
    assert [check.passed for check in found.checks] == [layer < 2 for layer in layers]
    assert any("other weights" in note for note in found.notes)
    with pytest.raises(ReadoutError, match="other weights"):
        verify(readout_of(lens, layers), model=str(folder), engine="hf")


def test_without_a_stored_checkpoint_nothing_passes(tiny_checkpoint):
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint("llama"), dtype=torch.float32)
    model.config._name_or_path = ""  # as of a model built from a configuration
    lens = wrap(model, AutoTokenizer.from_pretrained(tiny_checkpoint("llama")))
    found = verify(readout_of(lens), lens, engine="hf")
    assert not found.checks
    assert not found.passed
    assert "no stored checkpoint" in found.notes[0]
    assert verify(readout_of(lens), lens, engine="hf", model=str(tiny_checkpoint("llama"))).passed


def test_a_checkpoint_that_has_gone_is_a_note_and_nothing_passes(tiny_checkpoint, tmp_path):
    lens = replace(load_model(str(tiny_checkpoint("llama")), device="cpu"), source=str(tmp_path / "gone"))
    found = verify(readout_of(lens), lens, engine="hf")
    assert not found.passed
    assert "no such folder" in found.notes[0]


def test_a_bundle_with_the_four_contracted_keys_is_enough(tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("llama")
    path = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=(0, 2, 3))
    manifest = json.loads(path.with_suffix(".json").read_text())
    del manifest["amygdala_tl"]
    path.with_suffix(".json").write_text(json.dumps(manifest))
    assert verify(path, model=str(folder), engine="hf").passed
    assert verify(load_readout(path), load_model(str(folder), device="cpu"), engine="hf").passed
    with pytest.raises(ReadoutError, match="names no model"):
        verify(path, engine="hf")


def test_write_vectors_are_of_the_layers_that_are_checked(tiny_checkpoint, tmp_path):
    lens = load_model(str(tiny_checkpoint("llama")), device="cpu")
    bare = readout_of(lens, hooks={"2": "blocks.1.hook_resid_post"})
    writing = replace(bare, write_vectors=bare.vectors.flip(1), provenance=replace(bare.provenance, writer="mean"))
    found = verify(writing.save(tmp_path / "r.safetensors"), lens, engine="hf")
    assert [check.passed for check in found.checks] == [True, False, True]
    assert found.checks[1].finding == "layer 2 of the bundle matches Hugging Face layer 1"

    path = replace(writing, provenance=replace(writing.provenance, hooks={})).save(tmp_path / "s.safetensors")
    write = tmp_path / "s.write.safetensors"
    assert verify(path, lens, engine="hf").passed
    vectors = load_file(write)
    vectors["layer_1.write"] = vectors.pop("layer_2.write")
    save_file(vectors, write)
    manifest = json.loads(path.with_suffix(".json").read_text())
    manifest["amygdala_tl"]["write"]["sha256"] = hashlib.sha256(write.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(manifest))
    with pytest.raises(ReadoutError, match=r"layer_2\.write"):
        verify(path, lens, engine="hf")


def test_a_bundle_whose_write_vectors_were_not_copied_passes_with_a_note(tiny_checkpoint, tmp_path):
    lens = load_model(str(tiny_checkpoint("llama")), device="cpu")
    bare = readout_of(lens)
    writing = replace(bare, write_vectors=bare.vectors, provenance=replace(bare.provenance, writer="mean"))
    path = writing.save(tmp_path / "r.safetensors")
    for missing in (False, True):
        found = verify(path, lens, engine="hf")
        assert found.passed
        assert any("write vectors are missing" in note for note in found.notes) == missing
        path.with_suffix(".write.safetensors").unlink(missing_ok=True)


def test_an_old_readout_of_renamed_weights_is_taken_with_a_warning(tiny_checkpoint):
    folder = tiny_checkpoint("llama")
    raw = load_model(str(folder), device="cpu")
    old = replace(readout_of(raw), provenance=Provenance(model=replace(raw.info, golden="")))
    lens = wrap(load_model(str(folder), device="cpu").model, raw.tokenizer)
    with pytest.warns(UserWarning, match="cannot check that the readout was trained on this model"):
        check_fit(old, lens)
    check_fit(readout_of(raw), lens)
