"""A real Prometheus scrapes the server, and answers queries about what it generated."""

import shutil
import socket
import subprocess
import time

import httpx
import pytest

from amygdala_tl.routes.dashboard import prometheus_rules
from amygdala_tl.serve.app import readout_app
from tests.servers import running_app

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: readouts
    static_configs: [{{targets: ['{target}']}}]
"""
RULE = "grief>-1000@window=4"
BODY = {"prompt": "The lamp went out, and nobody", "max_tokens": 20, "ignore_eos": True, "temperature": 0}


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is needed (Debian package prometheus)")
def test_prometheus_reads_the_metrics_of_a_server(readout, embedded, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with running_app(readout_app(readout, embedded, alerts=[RULE], metrics_concepts=["grief"])) as url:
        (tmp_path / "rules.yml").write_text(prometheus_rules(["grief"]))
        (tmp_path / "prometheus.yml").write_text(CONFIG.format(target=url.removeprefix("http://")))
        command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
        try:
            httpx.post(f"{url}/v1/completions", json=BODY, timeout=60, trust_env=False)
            wanted = {
                f'amygdala_tl_alerts_total{{rule="{RULE}"}}': "1",
                'amygdala_tl_concept_tokens_total{concept="grief",above="any"}': "5",
                "amygdala_tl_failures_total": "0",
            }
            for query, value in wanted.items():
                assert until_there(address, query, value), (query, (tmp_path / "log").read_text()[-2000:])
        finally:
            process.terminate()
            process.wait(30)


def until_there(address, query, value):
    """Whether every result of a query becomes `value` before long."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            asked = httpx.get(f"http://{address}/api/v1/query", params={"query": query}, timeout=10, trust_env=False)
            found = {result["value"][1] for result in asked.json()["data"]["result"]}
        except (httpx.HTTPError, ValueError, KeyError):
            found = set()
        if found == {value}:
            return True
        time.sleep(0.2)
    return False
