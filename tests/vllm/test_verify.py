"""`verify`: right bundles pass in every engine, wrong ones fail by name."""

from dataclasses import asdict

import pytest

from amygdala_tl.api.verify import verify
from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.lens.embedded import embedded_checkpoint
from amygdala_tl.vllm.golden import has_vllm
from amygdala_tl.vllm.mapping import TABLE
from tests.cli.conftest import run
from tests.models import TINY, TINY_EXPERTS, TINY_FOR_VLLM
from tests.vllm.bundles import write_bundle

ARCHITECTURES = [*TINY, *TINY_FOR_VLLM]
IN_VLLM = ["llama", "qwen3", "gemma2", "gpt2", "opt", "stablelm", "cohere", *TINY_EXPERTS]


def test_hugging_face_passes_a_right_bundle_and_exit_is_0(capsys, tiny_checkpoint, tmp_path):
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=(0, 2, 3))
    code, out, _ = run(capsys, "verify", "--readout", bundle, "--model", tiny_checkpoint("llama"), "--engine", "hf")
    assert code == 0
    assert "verified: every layer is the same layer in Hugging Face" in out
    assert "not compared with vLLM" in out


def test_a_shifted_layer_fails_by_name_and_exit_is_1(capsys, tiny_checkpoint, tmp_path):
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=(0, 2, 3), hooks={2: 1})
    code, out, _ = run(capsys, "verify", "--readout", bundle, "--model", tiny_checkpoint("llama"), "--engine", "hf")
    assert code == 1
    assert "layer 2 of the bundle matches Hugging Face layer 1" in out
    assert "failed: 1 of 3 layers" in out


def test_mistakes_are_exit_2_with_one_message(capsys, tiny_checkpoint, tmp_path):
    model = ("--model", tiny_checkpoint("llama"))
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=(1,))
    other = write_bundle(
        tmp_path / "other.safetensors", d_model=64, layers=(1,), model={"fingerprint": "0" * 64, "id": "x"}
    )
    wide = write_bundle(tmp_path / "wide.safetensors", d_model=32, layers=(1,))
    deep = write_bundle(tmp_path / "deep.safetensors", d_model=64, layers=(1,), hooks={1: 9})
    for arguments, expected in (
        (("--readout", tmp_path / "none.safetensors", *model), "none.json"),
        (("--readout", bundle), "names no model"),
        (("--readout", other, *model), "other weights"),
        (("--readout", wide, *model), "does not fit"),
        (("--readout", deep, *model), "a layer below 4"),
        (("--readout", bundle, *model, "--dtype", "int8"), "unknown dtype"),
    ):
        code, _, err = run(capsys, "verify", "--engine", "hf", *arguments)
        assert code == 2, arguments
        assert expected in err


@pytest.mark.skipif(has_vllm(), reason="vLLM is installed here")
def test_without_vllm_it_checks_hugging_face_and_says_what_it_did_not(tiny_checkpoint, tmp_path):
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=(1,))
    found = verify(bundle, model=str(tiny_checkpoint("llama")))
    assert found.passed
    assert [check.engine for check in found.checks] == ["Hugging Face"]
    assert "not compared with vLLM: it is not installed" in found.notes
    with pytest.raises(InputError, match="not installed"):
        verify(bundle, model=str(tiny_checkpoint("llama")), engine="vllm")


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_every_tiny_architecture_passes_against_hugging_face(model_type, tiny_checkpoint, tmp_path):
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=(0, 1, 2, 3))
    found = verify(bundle, model=str(tiny_checkpoint(model_type)), engine="hf")
    assert found.passed, [check.finding for check in found.checks]


@pytest.mark.needs_vllm
@pytest.mark.parametrize("model_type", IN_VLLM)
def test_every_tiny_architecture_passes_in_vllm_and_a_shifted_layer_does_not(model_type, served_checkpoint, tmp_path):
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=(0, 2, 3), hooks={2: 1})
    found = verify(bundle, model=str(served_checkpoint(model_type)), engine="vllm")
    assert [(check.layer, check.passed) for check in found.checks] == [(0, True), (2, False), (3, True)], found
    assert found.checks[1].finding == "layer 2 of the bundle matches vLLM layer 1"


@pytest.mark.needs_vllm
def test_the_embedded_model_passes_at_first_middle_and_last_layer(embedded, tmp_path):
    layers = (0, 14, 15, 29)
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=576, layers=layers, model=asdict(embedded.info))
    found = verify(bundle)
    assert found.passed, [check.finding for check in found.checks]
    assert {check.engine for check in found.checks} == {"vLLM", "Hugging Face"}
    assert max(check.difference for check in found.checks) < 2e-5


@pytest.mark.needs_vllm
def test_bfloat16_passes_by_its_own_tolerance_and_still_finds_a_shift(tmp_path):
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=576, layers=(0, 14, 15, 29), hooks={15: 13})
    found = verify(bundle, model=str(embedded_checkpoint()), engine="vllm", dtype="bf16")
    assert found.dtype == "bfloat16"
    assert found.tolerance == 0.1
    assert [check.passed for check in found.checks] == [True, True, False, True], found
    assert found.checks[2].finding == "layer 15 of the bundle matches vLLM layer 13"


@pytest.mark.needs_vllm
def test_without_its_entry_in_the_table_stablelm_is_refused(served_checkpoint, tmp_path, monkeypatch):
    # The table is read inside vLLM's process, which is another one.
    folder = tmp_path / "patched"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "from amygdala_tl.vllm import mapping\ndel mapping.TABLE['stablelm.StablelmDecoderLayer']\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    assert "stablelm.StablelmDecoderLayer" in TABLE
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=(1, 2))
    found = verify(bundle, model=str(served_checkpoint("stablelm")), engine="vllm")
    assert not any(check.passed for check in found.checks)
    assert "stablelm.StablelmDecoderLayer is not a known decoder layer" in found.checks[0].finding
    assert "`first` fits here" in found.checks[0].finding


def test_a_model_that_is_not_there_is_one_error(tmp_path):
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=(1,))
    with pytest.raises(ReadoutError, match="names no model"):
        verify(bundle, engine="hf")
