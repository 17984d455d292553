"""A real Prometheus scrapes the server, and answers queries about what it generated."""

import httpx

from amygdala_tl.serve.app import readout_app
from tests.serve.prometheus import becomes, needs_prometheus, prometheus
from tests.servers import running_app

RULE = "grief>-1000@window=4"
BODY = {"prompt": "The lamp went out, and nobody", "max_tokens": 20, "ignore_eos": True, "temperature": 0}


@needs_prometheus
def test_prometheus_reads_the_metrics_of_a_server(readout, embedded, tmp_path):
    with (
        running_app(readout_app(readout, embedded, alerts=[RULE], metrics_concepts=["grief"])) as url,
        prometheus(url, tmp_path, ["grief"]) as address,
    ):
        httpx.post(f"{url}/v1/completions", json=BODY, timeout=60, trust_env=False)
        wanted = {
            f'amygdala_tl_alerts_total{{rule="{RULE}"}}': 1,
            'amygdala_tl_concept_tokens_total{concept="grief",above="any"}': 5,
            "amygdala_tl_failures_total": 0,
        }
        for query, value in wanted.items():
            assert becomes(address, query, value.__eq__) == {value}, (query, (tmp_path / "log").read_text()[-2000:])
