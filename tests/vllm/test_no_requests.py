"""vLLM, as `verify` starts it for a local model, asks nobody and installs nothing: every Python process of it is watched."""

import socket
import subprocess
import sys

import pytest

from amygdala_tl.api.verify import verify
from tests.vllm.bundles import write_bundle

WATCH = """
import ipaddress, os, socket, sys

HERE = {{"localhost", "", socket.gethostname()}}

def note(line):
    with open({log!r}, "a") as file:
        file.write(line + chr(10))

def at_home(host):
    host = host.decode() if isinstance(host, bytes) else host or ""
    try:
        return ipaddress.ip_address(host).is_loopback or host == {own!r}
    except ValueError:
        return host in HERE

def watch(event, arguments):
    if event == "socket.connect":
        client, address = arguments
        # A datagram socket that connects sends nothing: it is how vLLM finds this machine's own address.
        if client.family != socket.AF_UNIX and client.type == socket.SOCK_STREAM and not at_home(address[0]):
            note(f"connects to {{address}}")
    elif event == "socket.getaddrinfo" and not (at_home(arguments[0]) or str(arguments[0])[:1].isdigit()):
        note(f"looks up {{arguments[0]}}")
    elif event == "subprocess.Popen" and any("pip" in str(part) for part in arguments[1]):
        note(f"starts {{arguments[1]}}")

sys.addaudithook(watch)
note("watched")
"""


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """What processes do that start from now on; returns the function that reads it."""
    folder, log = tmp_path / "watch", tmp_path / "log"
    folder.mkdir()
    own = socket.gethostbyname(socket.gethostname())
    (folder / "sitecustomize.py").write_text(WATCH.format(log=str(log), own=own))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return lambda: set(log.read_text().splitlines())


@pytest.mark.needs_vllm
def test_no_local_model_causes_a_request_or_installs_a_package(watched, served_checkpoint, tmp_path):
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=(1, 2))
    assert verify(bundle, model=str(served_checkpoint("llama")), engine="vllm").passed
    assert watched() == {"watched"}


def test_a_request_and_an_installation_would_be_seen(watched):
    script = "import socket, subprocess, sys\n"
    script += "subprocess.run([sys.executable, '-m', 'pip', '--version'], stdout=subprocess.DEVNULL)\n"
    script += "try: socket.create_connection(('192.0.2.1', 9), timeout=.1)\nexcept OSError: pass\n"
    subprocess.run([sys.executable, "-c", script], check=True)
    found = watched() - {"watched"}
    assert any("pip" in line for line in found)
    assert "connects to ('192.0.2.1', 9)" in found
