"""Vectors that write lie in a file of their own, beside a bundle that is the same without them."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from amygdala_tl.errors import ReadoutError, StorageError
from amygdala_tl.readout.erasing import Erasing
from amygdala_tl.readout.record import load_readout
from tests.readout.example import CONCEPTS, LAYERS, a_readout


def with_write_vectors():
    return replace(a_readout(writer="mean"), write_vectors=a_readout(seed=1).vectors)


def with_erasures():
    read, write = a_readout(seed=2).vectors, a_readout(seed=3).vectors
    mean = 1e3 * torch.randn(len(LAYERS), read.shape[-1], generator=torch.Generator().manual_seed(4))
    erasing = Erasing(read, torch.nn.functional.normalize(write + 2 * read, dim=-1), mean)
    return replace(with_write_vectors(), erasing=erasing)


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


def test_erasures_come_back_follow_their_concepts_and_erase_what_they_read(tmp_path):
    made = with_erasures()
    loaded = load_readout(made.save(tmp_path / "readout.safetensors"))
    assert loaded.sha256 == made.sha256 == a_readout().sha256
    stream = 1e3 * torch.randn(7, loaded.d_model, generator=torch.Generator().manual_seed(5))
    for index, layer in enumerate(LAYERS):
        for row, concept in enumerate(CONCEPTS):
            after = loaded.eraser.at(concept, layer=layer)(stream)
            read, mean = loaded.erasing.read[index, row], made.erasing.mean[index]
            torch.testing.assert_close(after @ read, (mean @ read).expand(7), rtol=1e-3, atol=1e-1)
            moved = torch.nn.functional.normalize(after - stream, dim=-1) @ made.erasing.write[index, row]
            torch.testing.assert_close(moved.abs(), torch.ones(7), rtol=1e-4, atol=1e-4)
    again = load_readout(loaded.of_concepts(["grief", "awe"]).save(tmp_path / "some.safetensors"))
    torch.testing.assert_close(again.erasing.write, loaded.erasing.write[:, [0, 2]], rtol=1e-3, atol=1e-3)
    assert torch.equal(made.written().erasing.read, loaded.erasing.read)
    with pytest.raises(ReadoutError, match="cannot erase"):
        _ = with_write_vectors().eraser
    beside(tmp_path / "readout.safetensors").unlink()
    with pytest.raises(ReadoutError, match="write vectors are missing"):
        _ = load_readout(tmp_path / "readout.safetensors").eraser


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("layer_3.erase_read"), "layers are not those"),
        (lambda tensors: tensors.update({"layer_3.erase_mean": tensors["layer_3.erase_mean"].half()}), "do not fit"),
        (lambda tensors: tensors["layer_3.erase_mean"].fill_(torch.nan), "not finite"),
        (lambda tensors: tensors["layer_3.erase_write"].neg_(), "not finite"),
        (lambda tensors: tensors["layer_3.erase_write"].mul_(2), "unit length"),
    ],
    ids=["a tensor is missing", "another type", "no mean", "divided by nothing", "too long"],
)
def test_damaged_erasures_are_refused(tmp_path, change, said):
    path = with_erasures().save(tmp_path / "readout.safetensors")
    tensors = load_file(beside(path))
    change(tensors)
    save_file(tensors, beside(path))
    manifest = json.loads(path.with_suffix(".json").read_text())
    manifest["amygdala_tl"]["write"]["sha256"] = hashlib.sha256(beside(path).read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(manifest))
    with pytest.raises(ReadoutError, match=said):
        load_readout(path)
