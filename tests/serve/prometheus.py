"""A real Prometheus that scrapes a server, and what it answers to queries."""

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import httpx
import pytest

from amygdala_tl.routes.dashboard import prometheus_rules

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is needed (Debian package prometheus)"
)

_CONFIG = """
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: readouts
    static_configs: [{{targets: ['{target}']}}]
"""


@contextmanager
def prometheus(url, folder, concepts):
    """Scrape the server at `url`, with the rules of these concepts; yields its own address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (folder / "rules.yml").write_text(prometheus_rules(concepts))
    (folder / "prometheus.yml").write_text(_CONFIG.format(target=url.removeprefix("http://")))
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        yield address
    finally:
        process.terminate()
        process.wait(30)


def becomes(address, query, fits):
    """Wait until every result of a query fits; returns what was found last."""
    deadline = time.monotonic() + 60
    found = set()
    while time.monotonic() < deadline and not (found and all(map(fits, found))):
        time.sleep(0.2)
        try:
            asked = httpx.get(f"http://{address}/api/v1/query", params={"query": query}, timeout=10, trust_env=False)
            found = {float(result["value"][1]) for result in asked.json()["data"]["result"]}
        except (httpx.HTTPError, ValueError, KeyError):
            found = set()
    return found
