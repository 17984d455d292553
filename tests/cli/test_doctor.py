"""`doctor` finds what is missing or broken in an installation, and says what to do about it."""

import json
import socket

import pytest

from tests.cli.conftest import run


def findings(capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    found = json.loads(out)
    assert found["ok"] is (code == 0)
    return code, {each["name"]: each for each in found["findings"]}


def installed(folder, name, version):
    """A distribution in a folder, as pip leaves it."""
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder that Python searches for packages first."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_whole_installation_is_ok_and_nobody_is_asked(capsys, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    code, found = findings(capsys)
    assert code == 0
    assert {each["state"] for each in found.values()} <= {"ok", "absent"}
    assert {found[name]["state"] for name in ("requirements", "torch", "cache folder", "embedded model")} == {"ok"}
    assert all((each["state"] == "ok") is (each["remedy"] is None) for each in found.values())
    code, out, _ = run(capsys, "doctor")
    assert [line.split()[0] for line in out.splitlines()] == [each["state"] for each in found.values()]


def test_the_hub_is_described_and_its_token_never_shown(capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://me:secret@hub.example")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/somewhere/hub")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code, found = findings(capsys)
    hub = found["Hugging Face Hub"]
    assert (code, hub["state"]) == (0, "ok")
    assert hub["found"].startswith("https://hub.example, a token is set, cache /somewhere/hub, HF_HUB_OFFLINE is")
    assert "secret" not in str(found)


def test_a_package_that_is_too_old_is_broken_and_named_with_its_command(capsys, packages):
    installed(packages, "einops", "0.1")
    code, found = findings(capsys)
    assert code == 1
    assert found["einops"] == {
        "name": "einops", "state": "broken", "found": "0.1", "remedy": "pip install 'einops>=0.8'",
    }  # fmt: skip


def test_a_cache_folder_that_cannot_be_written_is_broken(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AMYGDALA_TL_CACHE", str(tmp_path / "file"))
    code, found = findings(capsys)
    assert code == 1
    assert "AMYGDALA_TL_CACHE" in found["cache folder"]["remedy"]


def test_the_plugin_is_seen_where_vllm_is_and_where_a_variable_leaves_it_out(capsys, packages, monkeypatch):
    assert "vLLM plugin" not in findings(capsys)[1]
    (packages / "vllm").mkdir()
    (packages / "vllm" / "__init__.py").touch()
    installed(packages, "vllm", "0.32.0")
    code, found = findings(capsys)
    assert (code, found["vLLM"]["found"], found["vLLM plugin"]["state"]) == (0, "0.32.0", "ok")
    monkeypatch.setenv("VLLM_PLUGINS", "another")
    code, found = findings(capsys)
    assert (code, found["vLLM plugin"]["state"]) == (1, "broken")
