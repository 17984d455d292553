"""The bundle: what every reader knows, and everything that makes a reader refuse it."""

import contextlib
import json

import pytest
import torch
from amygdala_tl.readout.fit_file import load_fit, save_fit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.readout.bundle import export_readout, load_readout
from amygdala_tl.records import Calibration, CaptureSettings, Fit, ModelInfo

CONCEPTS = ("awe", "joy", "grief")
LAYERS = (3, 10)


def a_fit(**changes):
    """A fit of random unit directions."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(3, 2, 16, generator=generator), dim=-1)
    calibration = Calibration(torch.randn(2, 3, generator=generator), torch.rand(2, 3, generator=generator) + 0.5, 40)
    values = {
        "concepts": CONCEPTS,
        "layers": LAYERS,
        "directions": directions,
        "text_calibration": calibration,
        "token_calibration": calibration,
        "model": ModelInfo("m", None, "f" * 64, "A", "TransformerBridge", {"torch": "2"}, "float32", 12, 16, 512),
        "settings": CaptureSettings(chat_template="user"),
        "read_position": "last",
        "estimator": {"aggregator": "mean"},
        "denoisers": ({"denoiser": "neutral-pca", "share": 0.5},),
        "corpus_sha256": "c" * 64,
        "counts": {concept: {"positive": 9, "negative": 30} for concept in CONCEPTS},
        "left_out": {"calm": "2 positive training texts, need 5"},
        **changes,
    }
    return Fit(**values)


@pytest.fixture
def bundle(tmp_path):
    path, _ = export_readout(a_fit(), tmp_path / "readout.safetensors")
    return path


def edit(path, change):
    """Change the manifest beside `path`."""
    manifest = json.loads(path.with_suffix(".json").read_text())
    change(manifest)
    path.with_suffix(".json").write_text(json.dumps(manifest))


def test_a_reader_that_knows_only_the_four_contracted_keys_can_project(bundle):
    manifest = json.loads(bundle.with_suffix(".json").read_text())
    tensors = load_file(bundle)
    hidden = torch.randn(manifest["hidden_size"])
    for index, layer in enumerate(manifest["layers"]):
        vectors = tensors[f"layer_{layer}.vectors"]
        assert vectors.dtype == getattr(torch, manifest["dtype"])
        scores = dict(zip(manifest["concepts"], (vectors.float() @ hidden).tolist(), strict=True))
        for column, concept in enumerate(CONCEPTS):
            assert scores[concept] == pytest.approx(float(a_fit().directions[column, index] @ hidden), abs=2e-2)
    assert len(tensors) == len(manifest["layers"])


def test_what_is_loaded_is_what_was_exported(bundle):
    readout, fit = load_readout(bundle), a_fit()
    assert readout.concepts == CONCEPTS
    assert readout.layers == LAYERS
    torch.testing.assert_close(readout.vectors, fit.directions.transpose(0, 1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(readout.text_calibration.mean, fit.text_calibration.mean)
    torch.testing.assert_close(readout.token_calibration.std, fit.token_calibration.std)
    said = readout.manifest["amygdala_tl"]
    assert said["hooks"] == {"3": "blocks.3.hook_resid_post", "10": "blocks.10.hook_resid_post"}
    assert said["read_position"] == "last"
    assert said["left_out"] == dict(fit.left_out)


def test_a_bundle_with_only_the_four_keys_is_taken_without_calibration(bundle):
    edit(bundle, lambda manifest: manifest.pop("amygdala_tl"))
    readout = load_readout(bundle)
    assert readout.concepts == CONCEPTS
    assert readout.text_calibration is None


def damage(change):
    """A change of the tensors, written again with their header."""

    def apply(path):
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return apply


REFUSED = {
    "other vectors": damage(lambda tensors: tensors["layer_3.vectors"].mul_(-1)),
    "a truncated file": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "an empty file": lambda path: path.write_bytes(b""),
    "no vectors": lambda path: path.unlink(),
    "no manifest": lambda path: path.with_suffix(".json").unlink(),
    "a manifest that is no JSON": lambda path: path.with_suffix(".json").write_text("{"),
    "a manifest that is no object": lambda path: path.with_suffix(".json").write_text("[]"),
    "swapped concepts": lambda path: edit(path, lambda m: m["concepts"].reverse()),
    "a concept too many": lambda path: edit(path, lambda m: m["concepts"].append("calm")),
    "a concept twice": lambda path: edit(path, lambda m: m.update(concepts=["awe", "awe", "joy"])),
    "another layer": lambda path: edit(path, lambda m: m.update(layers=[3, 11])),
    "layers out of order": lambda path: edit(path, lambda m: m["layers"].reverse()),
    "another size": lambda path: edit(path, lambda m: m.update(hidden_size=15)),
    "another dtype": lambda path: edit(path, lambda m: m.update(dtype="bfloat16")),
    "another format": lambda path: edit(path, lambda m: m["amygdala_tl"].update(format_version=99)),
    "a calibration of another shape": lambda path: edit(
        path, lambda m: m["amygdala_tl"]["calibration"]["texts"]["mean"].pop()
    ),
    "a deviation of zero": lambda path: edit(
        path, lambda m: m["amygdala_tl"]["calibration"]["tokens"]["std"][0].__setitem__(0, 0.0)
    ),
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_damaged_bundle_is_refused(bundle, how):
    REFUSED[how](bundle)
    with pytest.raises(ReadoutError):
        load_readout(bundle)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 5.0])
def test_vectors_that_are_not_finite_unit_rows_are_refused_also_without_a_hash(bundle, value):
    damage(lambda tensors: tensors["layer_10.vectors"][1].fill_(value))(bundle)
    edit(bundle, lambda manifest: manifest.pop("amygdala_tl"))
    with pytest.raises(ReadoutError, match="joy"):
        load_readout(bundle)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_flipped_byte_of_the_vectors_is_always_refused(bundle, data):
    whole = bundle.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytes([whole[at] ^ data.draw(st.integers(1, 255))])
    bundle.write_bytes(whole[:at] + flipped + whole[at + 1 :])
    with pytest.raises(ReadoutError):
        load_readout(bundle)
    bundle.write_bytes(whole)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    key=st.sampled_from(["concepts", "layers", "hidden_size", "dtype", "amygdala_tl"]),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    ),
)
def test_any_value_of_a_manifest_key_is_taken_or_refused_never_another_error(bundle, key, value):
    manifest_path = bundle.with_suffix(".json")
    whole = manifest_path.read_text()
    edit(bundle, lambda manifest: manifest.update({key: value}))
    with contextlib.suppress(ReadoutError):
        load_readout(bundle)
    manifest_path.write_text(whole)


def test_a_fit_with_a_zero_direction_cannot_be_exported(tmp_path):
    fit = a_fit()
    fit.directions[2, 0] = 0.0
    with pytest.raises(ReadoutError, match="grief"):
        export_readout(fit, tmp_path / "readout.safetensors")
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.safetensors"):
        export_readout(a_fit(), tmp_path / "readout.pt")


def test_a_fit_comes_back_from_its_file_as_it_was(tmp_path):
    save_fit(a_fit(), tmp_path / "fit.safetensors")
    again, fit = load_fit(tmp_path / "fit.safetensors"), a_fit()
    torch.testing.assert_close(again.directions, fit.directions)
    torch.testing.assert_close(again.token_calibration.std, fit.token_calibration.std)
    for name in ("concepts", "layers", "model", "settings", "read_position", "estimator", "denoisers", "counts"):
        assert getattr(again, name) == getattr(fit, name), name


def test_a_file_that_is_no_fit_says_so(tmp_path):
    (tmp_path / "x").write_bytes(b"nothing")
    with pytest.raises(ReadoutError, match="is no fit"):
        load_fit(tmp_path / "x")
