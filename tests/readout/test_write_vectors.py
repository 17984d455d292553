"""Vectors that write lie in a file of their own, beside a bundle that is the same without them."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from amygdala_tl.errors import ReadoutError, StorageError
from amygdala_tl.readout.record import load_readout
from tests.readout.example import CONCEPTS, LAYERS, a_readout


def with_write_vectors():
    return replace(a_readout(writer="mean"), write_vectors=a_readout(seed=1).vectors)


@pytest.fixture
def bundle(tmp_path):
    return with_write_vectors().save(tmp_path / "readout.safetensors")


def beside(bundle):
    return bundle.with_name("readout.write.safetensors")


def test_write_vectors_come_back_and_the_vectors_file_is_the_same_without_them(bundle, tmp_path):
    loaded, saved = load_readout(bundle), with_write_vectors()
    torch.testing.assert_close(loaded.write_vectors, saved.write_vectors, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(loaded.vectors, saved.vectors, rtol=1e-3, atol=1e-3)
    without = a_readout().save(tmp_path / "without.safetensors")
    assert without.read_bytes() == bundle.read_bytes()
    assert not (tmp_path / "without.write.safetensors").exists()
    said = json.loads(bundle.with_suffix(".json").read_text())
    assert said["amygdala_tl"]["writer"] == "mean"
    digest = hashlib.sha256(beside(bundle).read_bytes()).hexdigest()
    assert said["amygdala_tl"]["write"] == {"sha256": digest, "ending": ".write.safetensors"}
    assert json.loads(without.with_suffix(".json").read_text())["amygdala_tl"]["write"] is None
    assert set(load_file(beside(bundle))) == {f"layer_{layer}.write" for layer in LAYERS}


def test_a_direction_to_add_is_the_write_vector_where_there_is_one(bundle):
    loaded, plain = load_readout(bundle), a_readout()
    for index, layer in enumerate(LAYERS):
        for row, concept in enumerate(CONCEPTS):
            expected = loaded.write_vectors[index, row] / loaded.write_vectors[index, row].norm()
            torch.testing.assert_close(loaded.write_direction(concept, layer), expected)
            torch.testing.assert_close(plain.write_direction(concept, layer), plain.direction(concept, layer))
    assert torch.equal(plain.writing, plain.vectors)


def test_write_vectors_follow_their_concepts_and_what_is_written(bundle, tmp_path):
    loaded = load_readout(bundle)
    some = loaded.of_concepts(["grief", "awe"])
    assert torch.equal(some.write_vectors, loaded.write_vectors[:, [0, 2]])
    again = load_readout(some.save(tmp_path / "some.safetensors"))
    torch.testing.assert_close(again.writing, some.writing, rtol=1e-3, atol=1e-3)
    assert torch.equal(with_write_vectors().written().write_vectors, loaded.write_vectors)


def test_a_bundle_without_its_write_vectors_reads_and_says_what_is_missing_when_it_shall_steer(bundle, tmp_path):
    beside(bundle).unlink()
    loaded = load_readout(bundle)
    residual = torch.randn(4, len(LAYERS), loaded.d_model)
    assert torch.equal(loaded.scores(residual), with_write_vectors().written().scores(residual))
    for ask in (lambda: loaded.writing, lambda: loaded.write_direction("joy", LAYERS[0])):
        with pytest.raises(ReadoutError, match=r"write vectors are missing.*\.write\.safetensors"):
            ask()
    again = load_readout(loaded.save(tmp_path / "again.safetensors"))
    with pytest.raises(ReadoutError, match="write vectors are missing"):
        _ = again.writing


def test_other_write_vectors_and_other_names_are_refused(bundle):
    tensors = load_file(beside(bundle))
    save_file({name: -tensor for name, tensor in tensors.items()}, beside(bundle))
    with pytest.raises(ReadoutError, match=r"readout\.write\.safetensors.*not those the manifest was written for"):
        load_readout(bundle)
    text = bundle.with_suffix(".json").read_text()
    for ending in ("/../x.safetensors", ".json", ""):
        bundle.with_suffix(".json").write_text(text.replace(".write.safetensors", ending))
        with pytest.raises(ReadoutError, match="write"):
            load_readout(bundle)


def test_write_vectors_of_another_length_or_in_the_way_of_another_file_are_not_written(tmp_path):
    long = replace(with_write_vectors(), write_vectors=2 * a_readout(seed=1).vectors)
    with pytest.raises(ReadoutError, match="unit length"):
        long.save(tmp_path / "long.safetensors")
    assert not list(tmp_path.iterdir())
    (tmp_path / "readout.write.safetensors").write_bytes(b"notes of mine")
    with pytest.raises(StorageError, match=r"readout\.write\.safetensors"):
        with_write_vectors().save(tmp_path / "readout.safetensors")
    assert (tmp_path / "readout.write.safetensors").read_bytes() == b"notes of mine"
