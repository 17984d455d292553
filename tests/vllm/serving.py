"""A real vLLM server on loopback, in a process of its own, stopped when its block ends."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from amygdala_tl.lens.embedded import embedded_checkpoint

START_LIMIT = 1800  # seconds; a minute on an idle machine, half an hour on a very busy one
TINY_SERVER = ("--enforce-eager", "--no-enable-prefix-caching", "--max-model-len", "512")
"""Arguments for a server of a tiny checkpoint in which every position gets a row."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: its address.
        client: an HTTP client on it.
        log: what it has said.
        pid: its serving process, the parent of its engine process.
    """

    url: str
    client: httpx.Client
    log: Path
    pid: int

    def metrics(self):
        """The plugin's metrics: name with labels, without the prefix -> value."""
        lines = self.client.get("/metrics").text.splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if line.startswith("amygdala_tl_")]
        return {name.removeprefix("amygdala_tl_"): float(value) for name, value in pairs}

    def until(self, name, value, patience=60.0):
        """Wait until a metric has a value."""
        deadline = time.monotonic() + patience
        while (found := self.metrics()[name]) != value:
            assert time.monotonic() < deadline, f"{name} is {found}, and not {value}"
            time.sleep(0.1)


def command(port, *arguments, model=None):
    """The command line of a small server of the embedded model."""
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model or embedded_checkpoint())),
        *("--served-model-name", "m", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)),
        *("--max-model-len", "1024", "--max-num-seqs", "16", *arguments),
    ]


def environment(bundle=None, **more):
    """The environment of a server, with readouts on if there is a bundle."""
    clean = {name: value for name, value in os.environ.items() if "READOUT" not in name}
    on = {}
    if bundle is not None:
        on = {"VLLM_READOUT_VECTORS": str(bundle), "VLLM_READOUT_MANIFEST": str(bundle.with_suffix(".json"))}
    return clean | on | more


def free_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def vllm_server(*arguments, bundle=None, model=None, port=None, **more):
    """Serve the embedded model, or `model`, at `port` or a free one, with `more` in the environment; yields a `Server`."""
    port = port or free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                command(port, *arguments, model=model), env=environment(bundle, **more), stdout=stream, stderr=stream,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            key = {"Authorization": f"Bearer {arguments[-1]}"} if "--api-key" in arguments else {}
            with httpx.Client(base_url=url, timeout=300, trust_env=False, headers=key) as client:
                _wait(process, client, log)
                yield Server(url, client, log, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process, client, log):
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/health").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail(f"the server did not start: {log.read_text()[-3000:]}")


def stream(running, path, body):
    """The chunks of a streamed answer."""
    with running.client.stream("POST", path, json=body) as response:
        assert response.status_code == 200
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def refusal(bundle, *arguments, model=None, **more):
    """What a server says that must not start with a bundle."""
    done = subprocess.run(
        command(1, *arguments, model=model), env=environment(bundle, **more), capture_output=True, text=True, timeout=START_LIMIT,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    return done.stdout + done.stderr
