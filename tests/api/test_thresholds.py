"""Thresholds mean what alerts do with them, from texts and from a server's stream."""

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import httpx
import numpy as np
import pytest

import amygdala_tl as at
from amygdala_tl.api import thresholds as verb
from amygdala_tl.api.score import score_tokens
from amygdala_tl.diagnostics.thresholds import alert_thresholds
from amygdala_tl.errors import InputError
from amygdala_tl.readout.windows import largest_running
from amygdala_tl.routes.alerts import alerts_of
from amygdala_tl.routes.collector import Collector
from amygdala_tl.routes.metrics import TextMetrics
from amygdala_tl.routes.rules import checked_rules, rules_of_file
from amygdala_tl.routes.store import Entry, Step
from amygdala_tl.settings import SERVE
from tests.cli.conftest import run
from tests.live.readout_server import ReadoutServer
from tests.readout.example import a_readout

READOUT = a_readout()


def turns_of(n, seed=0):
    """Turns [token, layer, concept] of several lengths, whose tokens are alike."""
    random = np.random.default_rng(seed)
    shape = (len(READOUT.layers), len(READOUT.concepts))
    lengths = random.integers(2, 60, size=n).tolist()
    return [(random.normal(size=(m, *shape)) + random.normal(size=shape)).astype(np.float32) for m in lengths]


def alarms(rules, turns):
    """For each rule, the turns in which it fires at least once, token by token in a server's store."""
    metrics = TextMetrics([str(rule) for rule in rules])
    alerts = alerts_of(rules, metrics, with_text=True, webhook=None)
    collector = Collector(READOUT, metrics, alerts=alerts)
    collector.watch()
    for number, scores in enumerate(turns):
        collector.store.open(Entry(f"{number}", f"{number}", 0, [1, 2]))
        for token, row in enumerate(scores):
            collector.store.add(Step(((f"{number}", 1),), np.array([token + 1]), row[None]))
        collector.store.finish(f"{number}")
    said = [json.loads(event) for event in alerts.latest(1000)]
    return [{event["request_id"] for event in said if event["rule"] == str(rule)} for rule in rules]


@pytest.mark.parametrize("layer", [None, 10])
def test_an_alert_fires_in_just_the_turns_whose_largest_z_is_above_its_threshold(layer, tmp_path):
    turns, window = turns_of(120), 12
    z = verb._z_of(READOUT, layer)
    found = [largest_running(scores, z, window, least=3) for scores in turns]
    largest = np.stack([each for each in found if each is not None])
    assert len(largest) < len(turns), "some turns are too short"
    chosen = alert_thresholds(largest, 0.1, concepts=READOUT.concepts, window=window, layer=layer)
    verb.write_alerts(tmp_path / "alerts.toml", chosen)
    rules = checked_rules(rules_of_file(tmp_path / "alerts.toml"), READOUT)
    assert [(rule.concept, rule.window, rule.layer) for rule in rules] == [(c, 12, layer) for c in READOUT.concepts]
    for column, fired in enumerate(alarms(rules, turns)):
        above = rules[column].above
        assert chosen.above[column] <= above < chosen.above[column] + 0.0011
        assert fired == {f"{at}" for at, each in enumerate(found) if each is not None and each[column] > above}
        assert 0 < len(fired) <= 0.1 * (len(largest) + 1)


@pytest.fixture(scope="module")
def read(tiny_checkpoint):
    """A readout of a tiny model, and the model."""
    lens = at.load_model(str(tiny_checkpoint("llama")))
    return a_readout(layers=(1, 2), d_model=lens.info.d_model, model=lens.info), lens


TEXTS = [f"The lamp went out {'and the tide came in ' * count}at {count}." for count in range(1, 13)]


def test_texts_are_turns_whose_readable_tokens_count(read):
    readout, lens = read
    found = at.thresholds(readout, TEXTS, lens, concepts=["GRIEF", "awe"], window=8, false_alarms=0.1)
    assert (found.concepts, found.window, found.n_turns, found.enough) == (("awe", "grief"), 8, 12, True)
    largest = []
    for each in score_tokens(TEXTS, readout, lens, calibrated=False):
        scores = each.scores[each.readable.all(dim=-1)]
        z = [
            readout.combined_z(scores[max(0, end - 8) : end].mean(dim=0)[None], tokens=min(8, end))[0]
            for end in range(2, len(scores) + 1)
        ]
        largest.append(np.stack([each.numpy() for each in z]).max(axis=0)[[0, 2]])
    np.testing.assert_allclose(found.above, np.sort(largest, axis=0)[11], rtol=1e-4)


def test_mistakes_are_told_before_the_model_is_loaded():
    for wrong in ({}, {"texts": ["a"], "url": "http://127.0.0.1:1"}, {"url": "http://127.0.0.1:1", "seconds": 0.0}):
        with pytest.raises(InputError):
            at.thresholds(READOUT, **wrong)
    for wrong in ({"concepts": ["envy"]}, {"window": 0}, {"window": 9999}, {"layer": 4}):
        with pytest.raises(InputError):
            at.thresholds(READOUT, ["a text"], "nowhere", **wrong)


class Heard:
    """A server that sends these turns, interleaved, to who listens; `begun` has begun before."""

    def __init__(self, turns):
        self.turns = turns
        self.server = ReadoutServer(json.loads(READOUT.manifest_json()))

    def send(self):
        """Send everything once somebody reads."""
        while not self.server.readers:
            time.sleep(0.01)
        for token in range(max(map(len, self.turns))):
            for number, scores in enumerate(self.turns):
                if token < len(scores):
                    row = scores[token].tolist()
                    said = {"request_id": f"{number}", "index": 0, "first": token + (number == 0), "readout": [row]}
                    self.server.send(said)

    @contextmanager
    def running(self):
        """Serve; yields the address."""
        with self.server.running() as url:
            thread = threading.Thread(target=self.send)
            thread.start()
            yield url
            thread.join()


def test_a_stream_gives_the_turns_that_begin_while_it_is_listened_to(tmp_path, capsys, monkeypatch):
    path, alerts = READOUT.save(tmp_path / "readout.safetensors"), tmp_path / "alerts.toml"
    turns, z = turns_of(9, seed=1), verb._z_of(READOUT, None)
    said = ("--readout", path, "--concepts", "grief,awe", "--window", "8", "--false-alarms", "0.2", "--output", alerts)
    with Heard(turns).running() as url:
        # Without --url it listens where `serve` does unless told otherwise.
        monkeypatch.setattr("amygdala_tl.cli.thresholds.SERVE", replace(SERVE, port=httpx.URL(url).port))
        code, out, _ = run(capsys, "thresholds", *said, "--from-stream", "2s")
    assert (code, "8 quiet turns" in out, "0.22" in out) == (0, True, False), out
    largest = np.stack([largest_running(scores, z, 8, least=2) for scores in turns[1:]])
    expected = dict(zip(READOUT.concepts, np.sort(largest, axis=0)[7], strict=True))
    rules = rules_of_file(alerts)
    assert [rule.concept for rule in rules] == ["awe", "grief"]
    for rule in rules:
        assert rule.above == pytest.approx(float(expected[rule.concept]), abs=2e-3)


def test_a_server_with_another_readout_is_refused(tmp_path, capsys):
    calibration = READOUT.token_calibration
    other = replace(READOUT, token_calibration=replace(calibration, mean=calibration.mean + 1))
    path = other.save(tmp_path / "other.safetensors")
    with ReadoutServer(json.loads(READOUT.manifest_json())).running() as url:
        code, _, err = run(capsys, "thresholds", "--readout", path, "--from-stream", "1s", "--url", url)
    assert (code, "another readout" in err) == (2, True)


def test_the_command_takes_texts_or_a_server(tmp_path, capsys):
    path = READOUT.save(tmp_path / "readout.safetensors")
    (tmp_path / "texts.txt").write_text("a text")
    url, texts = ("--url", "http://127.0.0.1:1"), ("--texts", tmp_path / "texts.txt")
    for wrong in ((), url, (*texts, *url), (*texts, "--from-stream", "1m"), (*url, "--from-stream", "soon")):
        code, _, err = run(capsys, "thresholds", "--readout", path, *wrong)
        assert (code, err.count("error:")) == (2, 1), wrong
