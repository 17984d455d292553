"""The bundle: what every reader knows, and everything that makes a reader refuse it."""

import contextlib
import hashlib
import json
import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.readout.manifest import read_manifest
from amygdala_tl.readout.record import Readout, load_readout
from tests.readout.example import CONCEPTS, LAYERS, a_readout


@pytest.fixture
def bundle(tmp_path):
    return a_readout().save(tmp_path / "readout.safetensors")


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
            assert scores[concept] == pytest.approx(float(a_readout().vectors[index, column] @ hidden), abs=2e-2)
    assert len(tensors) == len(manifest["layers"])


def test_what_is_loaded_is_what_was_saved(bundle):
    loaded, saved = load_readout(bundle), a_readout()
    assert loaded.concepts == CONCEPTS
    assert loaded.layers == LAYERS
    torch.testing.assert_close(loaded.vectors, saved.vectors, rtol=1e-3, atol=1e-3)
    for name in ("text_calibration", "token_calibration"):
        one, other = getattr(loaded, name), getattr(saved, name)
        torch.testing.assert_close(one.mean, other.mean)
        torch.testing.assert_close(one.std, other.std)
        assert one.n == other.n
    one, other = loaded.length_calibration, saved.length_calibration
    for name in ("mean", "floor", "reach"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name))
    assert one.n == other.n
    assert loaded.provenance == saved.provenance
    assert loaded.provenance.hooks == {"3": "blocks.3.hook_resid_post", "10": "blocks.10.hook_resid_post"}
    assert loaded.provenance.verdicts["awe"] == saved.provenance.verdicts["awe"]
    assert loaded.provenance.verdicts["joy"].interval == (0.5, 0.75)


def test_the_manifest_names_what_is_stored_as_readers_know_it(bundle):
    said = json.loads(bundle.with_suffix(".json").read_text())
    assert list(said) == ["concepts", "layers", "hidden_size", "dtype", "amygdala_tl"]
    about, saved = said["amygdala_tl"], a_readout()
    assert about["format_version"] == 1
    assert about["tensors_sha256"] == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert about["read_position"] == "last"
    text = {"chat_template": "user", "max_tokens": 1024, "rendered": ""}
    kept = {"token_components": 0, "read_position": "all", "store_dtype": "float32"}
    assert about["capture"] == text | kept
    assert about["left_out"] == dict(saved.provenance.left_out)
    assert about["model"]["fingerprint"] == saved.provenance.model.fingerprint
    assert about["calibration"]["tokens"]["mean"][1] == pytest.approx(saved.token_calibration.mean[1].tolist())
    assert about["verdicts"]["grief"]["redundant_with"] == "awe"


def test_a_bundle_with_only_the_four_keys_is_taken_without_calibration(bundle):
    edit(bundle, lambda manifest: manifest.pop("amygdala_tl"))
    readout = load_readout(bundle)
    assert readout.concepts == CONCEPTS
    assert readout.text_calibration is None
    assert readout.token_calibration is None
    assert readout.verdicts == {}


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
    "a calibration with a concept too few": lambda path: edit(
        path, lambda m: m["amygdala_tl"]["calibration"]["tokens"]["mean"][1].pop()
    ),
    "a deviation too few": lambda path: edit(path, lambda m: m["amygdala_tl"]["calibration"]["texts"]["std"][1].pop()),
    "a floor too few": lambda path: edit(path, lambda m: m["amygdala_tl"]["calibration"]["lengths"]["floor"][1].pop()),
    "a reach below one": lambda path: edit(
        path, lambda m: m["amygdala_tl"]["calibration"]["lengths"]["reach"].__setitem__(0, 0.5)
    ),
    "a layer without a reach": lambda path: edit(
        path, lambda m: m["amygdala_tl"]["calibration"]["lengths"]["reach"].pop()
    ),
    "lengths without tokens": lambda path: edit(path, lambda m: m["amygdala_tl"]["calibration"].update(tokens=None)),
    "a floor above one": lambda path: edit(
        path, lambda m: m["amygdala_tl"]["calibration"]["lengths"]["floor"][0].__setitem__(0, 1.5)
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


@pytest.mark.parametrize("said", [{"concepts": ["awe", "joy", "awe"]}, {"layers": [3, 3]}])
def test_a_manifest_that_names_a_concept_or_a_layer_twice_is_refused_for_that(said):
    whole = {"concepts": list(CONCEPTS), "layers": list(LAYERS), "hidden_size": 16, "dtype": "float16"}
    with pytest.raises(ReadoutError, match=f"`{next(iter(said))}`"):
        read_manifest(json.dumps(whole | said).encode(), "here")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    ("calibration", "name"),
    [("text_calibration", "mean"), ("token_calibration", "std"), ("length_calibration", "mean")]
    + [("length_calibration", name) for name in ("floor", "reach")],
)
def test_a_readout_with_a_calibration_that_is_not_finite_cannot_be_saved(tmp_path, calibration, name, value):
    readout = a_readout()
    getattr(getattr(readout, calibration), name)[1, 0] = value
    with pytest.raises(ReadoutError, match="finite"):
        readout.save(tmp_path / "readout.safetensors")
    assert not list(tmp_path.iterdir())


DAMAGED = {
    "a layer too many": lambda tensors: tensors.update({"layer_4.vectors": tensors["layer_3.vectors"].clone()}),
    "vectors in float32": lambda tensors: tensors.update({name: each.float() for name, each in tensors.items()}),
    "vectors in bfloat16": lambda tensors: tensors.update({name: each.bfloat16() for name, each in tensors.items()}),
    "a row too few": lambda tensors: tensors.update({"layer_3.vectors": tensors["layer_3.vectors"][1:].clone()}),
    "rows of twice the length": lambda tensors: tensors["layer_3.vectors"].mul_(2),
    "rows that are a hundredth too long": lambda tensors: tensors["layer_3.vectors"].mul_(1.01),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_vectors_that_do_not_fit_the_manifest_are_refused_also_without_a_hash(bundle, how):
    edit(bundle, lambda manifest: manifest.pop("amygdala_tl"))
    load_readout(bundle)
    damage(DAMAGED[how])(bundle)
    with pytest.raises(ReadoutError):
        load_readout(bundle)


def test_concepts_in_another_order_than_the_header_says_are_refused_also_without_a_hash(bundle):
    edit(bundle, lambda manifest: (manifest.pop("amygdala_tl"), manifest["concepts"].reverse()))
    with pytest.raises(ReadoutError, match="not in the order of the vectors' rows"):
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


def test_a_readout_with_a_zero_direction_cannot_be_saved(tmp_path):
    readout = a_readout()
    readout.vectors[0, 2] = 0.0
    with pytest.raises(ReadoutError, match="grief"):
        readout.save(tmp_path / "readout.safetensors")
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.safetensors"):
        a_readout().save(tmp_path / "readout.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("how", ["whole", "of some concepts", "with nothing but vectors"])
def test_what_is_saved_loaded_and_saved_again_is_the_same_bundle(tmp_path, how):
    readout = a_readout()
    if how == "of some concepts":
        readout = readout.of_concepts(["joy", "grief"], {"awe": "too close"})
    elif how == "with nothing but vectors":
        readout = Readout(CONCEPTS, LAYERS, readout.vectors)
    once = readout.save(tmp_path / "once.safetensors")
    loaded = load_readout(once)
    twice = loaded.save(str(tmp_path / "twice.safetensors"))
    again = load_readout(twice)
    assert torch.equal(again.vectors, loaded.vectors)
    assert again.provenance == loaded.provenance
    one, other = (json.loads(path.with_suffix(".json").read_text()) for path in (once, twice))
    for manifest in (one, other):
        manifest["amygdala_tl"].pop("tensors_sha256")  # safetensors writes its header in any order
    if how == "with nothing but vectors":
        assert one["amygdala_tl"].pop("hooks") == {}
        assert other["amygdala_tl"].pop("hooks") == {"3": "blocks.3.hook_resid_post", "10": "blocks.10.hook_resid_post"}
    assert one == other


def test_a_damaged_manifest_says_where_it_is_wrong(bundle):
    for change, where in (
        (lambda m: m["amygdala_tl"]["verdicts"]["joy"].update(auroc="high"), "amygdala_tl.verdicts"),
        (lambda m: m["amygdala_tl"]["model"].pop("fingerprint"), "amygdala_tl.model"),
        (lambda m: m.update(layers=[3, -10]), "layers"),
    ):
        whole = bundle.with_suffix(".json").read_text()
        edit(bundle, change)
        with pytest.raises(ReadoutError) as refused:
            load_readout(bundle)
        assert where in str(refused.value)
        assert str(bundle.with_suffix(".json")) in str(refused.value)
        bundle.with_suffix(".json").write_text(whole)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"hidden_size": 0}, "hidden_size"),
        ({"layers": [-1, 3]}, r"layers\[0\]"),
        ({"layers": []}, "layers"),
        ({"concepts": []}, "concepts"),
    ],
)
def test_numbers_and_lists_of_a_manifest_have_bounds(wrong, place):
    said = {"concepts": list(CONCEPTS), "layers": [0, 3], "hidden_size": 1, "dtype": "float16"}
    assert read_manifest(json.dumps(said).encode(), "here").layers == [0, 3]
    with pytest.raises(ReadoutError, match=rf"unexpected value at `{place}`"):
        read_manifest(json.dumps(said | wrong).encode(), "here")


def test_a_key_that_this_version_does_not_know_is_ignored(bundle):
    edit(bundle, lambda m: m.update(new=1))
    edit(bundle, lambda m: m["amygdala_tl"].update(new={"deep": [1]}))
    edit(bundle, lambda m: m["amygdala_tl"]["verdicts"]["joy"].update(new="x"))
    assert load_readout(bundle).verdicts["joy"] == a_readout().verdicts["joy"]


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_sparse_file_of_any_size_is_refused_before_it_is_read(bundle, suffix):
    os.truncate(bundle.with_suffix(suffix), 12 << 30)
    with pytest.raises(ReadoutError, match="too large"):
        load_readout(bundle)


def test_fields_of_a_later_version_are_ignored_wherever_they_stand(bundle):
    def add(manifest):
        about = manifest["amygdala_tl"]
        for record in (
            manifest,
            about,
            about["model"],
            about["capture"],
            about["verdicts"]["awe"],
            about["calibration"],
        ):
            record["a_field_of_a_later_version"] = {"x": [1]}

    edit(bundle, add)
    assert load_readout(bundle).provenance == a_readout().provenance
