"""Alerts of a real server: the event that fires has the z that a client computes from the same answer."""

import json

import httpx
import numpy as np
import pytest

from amygdala_tl import readout_client
from amygdala_tl.errors import InputError
from amygdala_tl.serve.app import readout_app
from tests.serve.conftest import CONCEPTS
from tests.servers import running_app

RULE = "grief>-1000@window=8"
BODY = {"prompt": "The lamp went out, and nobody", "max_tokens": 12, "ignore_eos": True, "temperature": 0}


def post(url, **more):
    return httpx.post(f"{url}/v1/completions", json=BODY | more, timeout=60, trust_env=False).json()


def test_an_event_has_the_z_of_the_answers_last_tokens(readout, embedded):
    app = readout_app(readout, embedded, alerts=[RULE, "joy>1000", "awe>-1000@window=4@layer=14"])
    with running_app(app) as url, readout_client(url) as client:
        answer = post(url, n=2)
        served = client.manifest()
        events = httpx.get(f"{url}/v1/readout/events?last=9", trust_env=False).json()["events"]
        assert [event["rule"] for event in events].count(RULE) == 2, "once for each choice"
        assert len(events) == 4
        for event in events:
            assert event["request_id"] == f"{answer['id']}-0"
            scores = np.array(answer["choices"][event["index"]]["readout"], dtype=np.float32)
            tokens = event["tokens"]
            assert (event["token"], tokens) == (event["window"] // 4 - 1, event["window"] // 4)
            mean, at = scores[:tokens].mean(axis=0), CONCEPTS.index(event["concept"])
            z = (
                served.combined.z(mean, tokens=tokens)[at]
                if event["layer"] is None
                else served.z(mean, tokens=tokens)[1, at]
            )
            assert event["z"] == pytest.approx(float(z), abs=2e-3)
        lines = httpx.get(f"{url}/metrics", trust_env=False).text.splitlines()
        assert f'amygdala_tl_alerts_total{{rule="{RULE}"}} 2' in lines
        assert 'amygdala_tl_alerts_total{rule="joy>1000@window=64"} 0' in lines
        assert (
            httpx.get(f"{url}/v1/readout/events?last=9", headers={"host": "elsewhere"}, trust_env=False).status_code
            == 403
        )


def test_events_ask_for_the_servers_key_and_are_streamed_as_they_fire(readout, embedded):
    app = readout_app(readout, embedded, key="a-key", local=False, alerts=[RULE])
    key = {"Authorization": "Bearer a-key"}
    with running_app(app) as url:
        assert httpx.get(f"{url}/v1/readout/events", trust_env=False).status_code == 401
        with httpx.stream("GET", f"{url}/v1/readout/events", headers=key, timeout=60, trust_env=False) as answer:
            lines = answer.iter_lines()
            next(lines)
            said = httpx.post(f"{url}/v1/completions", json=BODY, headers=key, timeout=60, trust_env=False).json()
            event = json.loads(next(line for line in lines if line.startswith("data: ")).removeprefix("data: "))
        assert event["rule"] == RULE
        assert said["id"] not in event["request_id"], (
            "who reaches the server from elsewhere does not see whose request it was"
        )


def test_a_mistaken_rule_is_refused_before_the_server_starts(readout, embedded):
    for wrong in ("grief", "envy>3", "grief>3@layer=99"):
        with pytest.raises(InputError):
            readout_app(readout, embedded, alerts=[wrong])
    with pytest.raises(InputError):
        readout_app(readout, embedded, alert_webhook="http://127.0.0.1:1/")
