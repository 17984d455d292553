"""Control vectors: the gguf package as the other program, both ways, and files that are none."""

import contextlib

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.readout.control_vector import CONTROL_VECTOR, control_vector_bytes, read_control_vector
from amygdala_tl.readout.record import Readout, load_readout

VECTORS = {layer: np.random.default_rng(layer).standard_normal(16).astype(np.float32) for layer in (2, 3, 11)}


def as_repeng_writes(path, vectors, extra=lambda writer: None, architecture="controlvector"):
    """Write a file as `ControlVector.export_gguf` of repeng does, from the last layer to the first."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", len(vectors))
    extra(writer)
    for layer in sorted(vectors, reverse=True):
        writer.add_tensor(f"direction.{layer}", vectors[layer])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_gguf_package_reads_what_is_written(tmp_path):
    (tmp_path / "joy.gguf").write_bytes(control_vector_bytes(VECTORS, "qwen3"))
    reader = gguf.GGUFReader(tmp_path / "joy.gguf")
    said = {name: of.contents() for name, of in reader.fields.items()}
    assert said["general.architecture"] == "controlvector"
    assert (said["controlvector.model_hint"], said["controlvector.layer_count"]) == ("qwen3", 3)
    assert [tensor.name for tensor in reader.tensors] == ["direction.2", "direction.3", "direction.11"]
    for tensor, vector in zip(reader.tensors, VECTORS.values(), strict=True):
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        np.testing.assert_array_equal(tensor.data, vector)


def more_values(writer):
    writer.add_array("general.tags", ["steering", "joy"])
    writer.add_array("controlvector.numbers", [1.5, 2.5])
    writer.add_bool("controlvector.normalize", False)
    writer.add_float64("controlvector.loss", 0.5)
    writer.add_custom_alignment(64)


@pytest.mark.parametrize("extra", [lambda writer: None, more_values])
def test_a_file_of_repeng_becomes_a_readout_with_raw_scores(tmp_path, extra):
    path = as_repeng_writes(tmp_path / "Joy.gguf", VECTORS | {5: np.zeros(16, np.float32)}, extra)
    readout = load_readout(path)
    assert (readout.concepts, readout.layers) == (("Joy",), (2, 3, 11))  # a layer of zeros is not steered
    for layer, vector in VECTORS.items():
        unit = torch.from_numpy(vector / np.linalg.norm(vector))
        torch.testing.assert_close(readout.direction("Joy", layer), unit)
        torch.testing.assert_close(readout.write_direction("Joy", layer), unit)
    assert readout.provenance.estimator == {"imported": "a control vector"}
    with pytest.raises(ReadoutError, match="no calibration"):
        readout.z(torch.randn(3, 16))
    loaded = load_readout(readout.save(tmp_path / "joy.safetensors"))
    assert loaded.provenance.estimator == readout.provenance.estimator
    torch.testing.assert_close(loaded.vectors, readout.vectors, rtol=0, atol=1e-3)


@given(st.data())
def test_a_damaged_file_is_one_error_or_some_vectors(tmp_path_factory, data):
    whole = bytearray(control_vector_bytes(VECTORS, "llama"))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    path.write_bytes(whole[:cut] if data.draw(st.booleans()) else whole)
    with contextlib.suppress(ReadoutError):
        assert all(vector.any() and np.isfinite(vector).all() for vector in read_control_vector(path).values())


@pytest.mark.parametrize("cut", [0, 3, 30, 100, -4])
def test_a_file_that_ends_early_is_refused(tmp_path, cut):
    (tmp_path / "cut.gguf").write_bytes(control_vector_bytes({4: np.ones(8, np.float32)}, "llama")[:cut])
    with pytest.raises(ReadoutError, match="is not a control vector"):
        load_readout(tmp_path / "cut.gguf")


def test_a_model_another_type_other_sizes_and_infinity_are_refused(tmp_path):
    ones = np.ones(16, np.float32)
    files = [
        as_repeng_writes(tmp_path / "model.gguf", {1: ones}, architecture="llama"),
        as_repeng_writes(tmp_path / "half.gguf", {1: ones.astype(np.float16)}),
        as_repeng_writes(tmp_path / "matrix.gguf", {1: np.ones((2, 16), np.float32)}),
        as_repeng_writes(tmp_path / "sizes.gguf", {1: ones, 2: np.ones(8, np.float32)}),
        as_repeng_writes(tmp_path / "infinite.gguf", {1: ones * np.inf}),
    ]
    for file in files:
        with pytest.raises(ReadoutError, match="is not a control vector"):
            load_readout(file)
    with pytest.raises(InputError, match="no direction"):
        load_readout(as_repeng_writes(tmp_path / "zero.gguf", {1: 0 * ones}))


def test_the_kind_is_told_from_a_model_and_from_other_files(tmp_path):
    files = {
        as_repeng_writes(tmp_path / "one.gguf", VECTORS): True,
        as_repeng_writes(tmp_path / "model.gguf", VECTORS, architecture="llama"): False,
        tmp_path / "text.gguf": False,
    }
    (tmp_path / "text.gguf").write_text("general.architecture controlvector")
    for file, recognised in files.items():
        with file.open("rb") as stream:
            assert CONTROL_VECTOR.recognises(stream) is recognised


def test_directions_in_hand_become_a_readout():
    generator = torch.Generator().manual_seed(0)
    given = {
        name: {layer: 5 * torch.randn(16, generator=generator).to(dtype) for layer in (7, 3)}
        for name, dtype in (("joy", torch.float32), ("awe", torch.bfloat16))
    }
    readout = Readout.from_directions(given)
    assert (readout.concepts, readout.layers) == (("joy", "awe"), (3, 7))
    for name, of in given.items():
        for layer, vector in of.items():
            unit = vector.float() / vector.float().norm()
            torch.testing.assert_close(readout.direction(name, layer), unit)
    as_arrays = {name: {layer: vector.float().numpy() for layer, vector in of.items()} for name, of in given.items()}
    torch.testing.assert_close(Readout.from_directions(as_arrays).vectors, readout.vectors)


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        ({}, "no directions were given"),
        ({"joy": {}}, "no directions were given"),
        ({"joy": {-1: torch.ones(4)}}, "a layer is negative"),
        ({"joy": {1: torch.ones(4)}, "awe": {2: torch.ones(4)}}, "awe|joy"),
        ({"joy": {1: torch.ones(4), 2: torch.ones(5)}}, "differ in size"),
        ({"joy": {1: torch.zeros(4)}}, "joy, layer 1: cannot be used as a direction"),
        ({"joy": {1: torch.tensor([1.0, torch.nan])}}, "cannot be used as a direction"),
        ({"joy": {1: torch.ones(2, 4)}}, "cannot be used as a direction"),
    ],
)
def test_directions_that_make_no_readout_are_refused(directions, message):
    with pytest.raises(InputError, match=message):
        Readout.from_directions(directions)
