"""NumPy's arrays as readouts: `.npz` with its names inside, `.npy` with its names beside it, and files that are neither."""

import contextlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.errors import InputError, ReadoutError, StorageError
from amygdala_tl.files import check_outputs
from amygdala_tl.readout.formats import files_of
from amygdala_tl.readout.record import Readout, load_readout
from tests.cli.conftest import run

CONCEPTS, LAYERS = ["joy", "deep calm", "désir"], [14, 3]
VECTORS = np.random.default_rng(0).standard_normal((2, 3, 16))
EXPECTED = Readout.from_directions(
    {name: {layer: VECTORS[i, j] for i, layer in enumerate(LAYERS)} for j, name in enumerate(CONCEPTS)}
)


def npy(path, vectors=VECTORS, concepts=CONCEPTS, layers=LAYERS):
    """Write vectors, and their names beside them."""
    np.save(path, vectors)
    path.with_suffix(".json").write_text(json.dumps({"concepts": concepts, "layers": layers}))
    return path


def npz(path, vectors=VECTORS, concepts=CONCEPTS, layers=LAYERS, save=np.savez):
    """Write vectors with their names."""
    save(path, vectors=vectors, concepts=concepts, layers=layers)
    return path


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_both_files_become_the_readout_of_their_rows(tmp_path, dtype):
    vectors, rounding = VECTORS.astype(dtype), 2e-3 if dtype == "float16" else 1e-6
    for path in (npy(tmp_path / "a.npy", vectors), npz(tmp_path / "a.npz", vectors, save=np.savez_compressed)):
        readout = load_readout(path)
        assert (readout.concepts, readout.layers) == (tuple(CONCEPTS), (3, 14))
        torch.testing.assert_close(readout.vectors, EXPECTED.vectors, rtol=0, atol=rounding)
        assert readout.provenance.estimator == {"imported": "NumPy arrays"}


def test_two_axes_are_one_layer(tmp_path):
    for path in (npy(tmp_path / "a.npy", VECTORS[0], layers=[14]), npz(tmp_path / "a.npz", VECTORS[0], layers=[14])):
        readout = load_readout(path)
        assert readout.layers == (14,)
        torch.testing.assert_close(readout.vectors[0], EXPECTED.vectors[1])


def test_the_manifest_of_a_bundle_says_the_names_of_its_rows(tmp_path):
    EXPECTED.save(tmp_path / "readout.safetensors")
    np.save(tmp_path / "readout.npy", EXPECTED.vectors.numpy())
    torch.testing.assert_close(load_readout(tmp_path / "readout.npy").vectors, EXPECTED.vectors)


def test_the_command_makes_a_bundle_and_writes_no_arrays(tmp_path, capsys):
    arrays, bundle = npy(tmp_path / "mine.npy"), tmp_path / "bundle.safetensors"
    assert run(capsys, "export", "--readout", arrays, "--output", bundle)[0] == 0
    torch.testing.assert_close(load_readout(bundle).vectors, EXPECTED.vectors, rtol=0, atol=1e-3)
    code, _, err = run(capsys, "export", "--readout", arrays, "--output", tmp_path / "mine.safetensors")
    assert code == 2  # its manifest would replace the names
    assert "replace an input" in err
    code, _, err = run(capsys, "export", "--readout", bundle, "--output", tmp_path / "new.npz")
    assert code == 2
    assert ".safetensors" in err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"concepts": ["joy", "calm"]}, r"got: float64 \[2, 3, 16\]; need: numbers \[2, 2, d_model\]"),
        ({"concepts": ["joy", "joy", "calm"]}, "other vectors"),
        ({"layers": [14, -3]}, "layers"),
        ({"layers": [1.5, 2.5]}, "layers"),
        ({"concepts": [1, 2, 3]}, "concepts"),
        ({"vectors": VECTORS[0, 0]}, "other vectors"),
        ({"vectors": VECTORS.astype(str)}, "other vectors"),
        ({"vectors": VECTORS.astype(complex)}, "other vectors"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, changed, message):
    for path in (npy(tmp_path / "a.npy", **changed), npz(tmp_path / "a.npz", **changed)):
        with pytest.raises(ReadoutError, match=message):
            load_readout(path)


def test_objects_missing_arrays_missing_names_and_packed_zeros_are_refused(tmp_path, monkeypatch):
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "object.json").write_text('{"concepts": ["joy"], "layers": [1]}')
    np.savez(tmp_path / "one.npz", vectors=VECTORS)
    np.save(tmp_path / "alone.npy", VECTORS)
    for name, message in (("object.npy", "allow_pickle"), ("one.npz", "concepts"), ("alone.npy", "alone.json")):
        with pytest.raises(ReadoutError, match=message):
            load_readout(tmp_path / name)
    monkeypatch.setattr("amygdala_tl.readout.arrays.LARGEST", 2000)
    path = npz(tmp_path / "zeros.npz", np.zeros((2, 3, 1000)), save=np.savez_compressed)
    with pytest.raises(ReadoutError, match="when unpacked"):
        load_readout(path)


@given(st.data())
def test_a_damaged_file_is_one_error_or_some_vectors(tmp_path_factory, data):
    base = tmp_path_factory.getbasetemp()
    path = npy(base / "damaged.npy") if data.draw(st.booleans()) else npz(base / "damaged.npz")
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
    with contextlib.suppress(ReadoutError, InputError):
        assert load_readout(path).vectors.isfinite().all()


def test_an_output_of_this_kind_never_replaces_another(tmp_path):
    check_outputs(files_of(npy(tmp_path / "a.npy")) | files_of(npz(tmp_path / "b.npz")))
    (tmp_path / "c.npy").write_text("notes")
    with pytest.raises(StorageError, match="NumPy arrays"):
        check_outputs(files_of(tmp_path / "c.npy"))
