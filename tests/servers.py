"""Real servers for tests, on loopback, stopped when their block ends.

    with reference_memory_server(graph_file) as url: ...      npm's memory server behind supergateway
    with running_app(app) as url: ...                         any ASGI application, in a thread

The npm packages are pinned and installed once into the user's cache; where that cannot be done the test is skipped.
"""

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest

from amygdala_tl.net.loopback import running_app

__all__ = ["npm_packages", "reference_memory_server", "running_app"]

PACKAGES = {"@modelcontextprotocol/server-memory": "2026.8.31", "supergateway": "4.0.0"}
_INSTALL_LIMIT = 300  # seconds
_START_LIMIT = 30


def npm_packages() -> Path:
    """The `node_modules` folder with the pinned packages, installed at the first call ever.

    Skips the test where node or npm is missing, or the packages cannot be had.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are needed for the reference memory server (https://nodejs.org)")
    versions = [f"{name}@{version}" for name, version in PACKAGES.items()]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amygdala-tl-tests"
    folder = cache / "-".join(version.rsplit("/", 1)[-1] for version in versions)
    if not folder.exists():
        # Installed aside and renamed whole, so that tests that run side by side or are killed never see half of it.
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as aside:
            fresh = Path(aside) / "npm"
            fresh.mkdir()
            command = ["npm", "install", "--prefix", str(fresh), "--no-audit", "--no-fund", *versions]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_LIMIT, check=False)
            if done.returncode != 0:
                pytest.skip(f"npm cannot install {' '.join(versions)}: {done.stderr.strip()[-300:]}")
            try:
                fresh.rename(folder)
            except OSError:
                if not folder.exists():  # another process was faster, which is as good
                    raise
    return folder / "node_modules"


@contextmanager
def reference_memory_server(graph_file: Path, *, stateful: bool = False) -> Iterator[str]:
    """Serve `graph_file` with the reference memory server over streamable HTTP; yields the MCP address.

    Without `stateful` the gateway starts a server process a request, with it one a session.
    """
    modules = npm_packages()
    memory = modules / "@modelcontextprotocol" / "server-memory" / "dist" / "index.js"
    gateway = modules / "supergateway" / "dist" / "index.js"
    port = _free_port()
    command = ["node", str(gateway), "--stdio", shlex.join(["node", str(memory)]), "--port", str(port)]
    command += ["--outputTransport", "streamableHttp", "--healthEndpoint", "/health", "--logLevel", "none"]
    command += ["--stateful"] if stateful else []
    environment = os.environ | {"MEMORY_FILE_PATH": str(Path(graph_file).resolve())}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            _wait_until_healthy(process, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()  # the gateway stops its own children at SIGTERM
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _wait_until_healthy(process: "subprocess.Popen[bytes]", url: str, log: IO[str]) -> None:
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=2.0, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    log.seek(0)
    pytest.fail(f"the reference memory server did not start: {log.read()[-500:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
