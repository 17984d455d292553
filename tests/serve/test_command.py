"""The command `serve`, as its users start and stop it."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest

from amygdala_tl import readout_client
from amygdala_tl.cli.main import main
from amygdala_tl.errors import KeyRefused
from tests.live.terminal import terminal
from tests.vllm.bundles import write_bundle

KEY = "a-key"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    tokens = {"mean": [[0.0] * 3] * 2, "std": [[1.0] * 3] * 2, "n": 100}
    path = tmp_path_factory.mktemp("bundle") / "readout.safetensors"
    return write_bundle(path, d_model=64, layers=(1, 2), calibration={"tokens": tokens})


@contextmanager
def serving(bundle, model, *options, **environment):
    """The command, started; yields its process and address."""
    command = [sys.executable, "-m", "amygdala_tl.cli.main", "serve", "--readout", bundle, "--model", model, *options]
    process = subprocess.Popen(
        [str(word) for word in command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = []
        while not (found := re.search(r"http://\S+", "".join(lines))):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            lines.append(line)
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


def test_it_serves_watch_a_client_and_alerts_until_ctrl_c(bundle, tiny_checkpoint, tmp_path):
    (tmp_path / "alerts.toml").write_text("[[alert]]\nconcept = 'awe'\nabove = -1e6\nwindow = 4\nlayer = 2\n")
    options = ("--port", 0, "--alerts", tmp_path / "alerts.toml", "--alert", "grief>-1e6@window=4@layer=1")
    with serving(bundle, tiny_checkpoint("llama"), *options, AMYGDALA_SERVE_KEY=KEY) as (process, url):
        with readout_client(url) as client, pytest.raises(KeyRefused):
            client.manifest()
        with terminal("watch", url, AMYGDALA_VLLM_TOKEN=KEY) as seen:
            seen.until("llama", "waiting for the first token")
            body = {"prompt": "The lamp went out", "max_tokens": 9, "ignore_eos": True}
            headers = {"Authorization": f"Bearer {KEY}"}
            answer = httpx.post(f"{url}/v1/completions", json=body, headers=headers, timeout=60, trust_env=False).json()
            assert len(answer["choices"][0]["readout"]) == 9
            last = f"{url}/v1/readout/events?last=9"
            events = httpx.get(last, headers=headers, timeout=60, trust_env=False).json()["events"]
            assert {event["rule"] for event in events} == {
                "awe>-1000000@window=4@layer=2", "grief>-1000000@window=4@layer=1",
            }  # fmt: skip
            seen.until("last tokens", "9 tokens", "awe", "calm", "grief")
            seen.press("q")
        process.send_signal(signal.SIGINT)
        printed = process.stdout.read()  # and not `communicate`, which leaves out what readline has buffered
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert said.splitlines()[-1] == "stopped by Ctrl-C: the server is closed."
        assert "alerts: grief>-1000000@window=4@layer=1, awe>" in printed
        assert "deviations of single tokens" in printed, "the bundle has no calibration of lengths"


def test_mistakes_are_one_message_and_exit_2_before_the_model_is_loaded(bundle, capsys, monkeypatch):
    def refused(*options):
        with pytest.raises(SystemExit) as ended:
            main(["serve", "--readout", str(bundle), "--model", "nowhere", *options])
        said = capsys.readouterr().err
        assert (ended.value.code, said.count("error:")) == (2, 1)
        return said

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot listen here" in refused("--port", str(taken.getsockname()[1]))
    assert "cannot listen here" in refused("--host", "192.0.2.1")
    monkeypatch.setenv("AMYGDALA_SERVE_KEY", "two words")
    assert "AMYGDALA_SERVE_KEY" in refused()


def test_mistakes_in_alerts_are_one_message_before_the_model_is_loaded(bundle, tmp_path, capsys):
    (tmp_path / "alerts.toml").write_text("[[alert]]\nconcept = 'grief'\nabove = 'high'\n")
    for options, said in (
        (("--alert", "grief"), "not a rule of an alert"),
        (("--alert", "envy>3@layer=1"), "no such concept"),
        (("--alert", "grief>3"), "no score over all layers"),
        (("--alerts", tmp_path / "alerts.toml"), "`alert[0].above`"),
        (("--alerts", tmp_path / "none.toml"), "none.toml"),
        (("--alert-webhook", "http://127.0.0.1:1/"), "no alert for it"),
        (("--alert", "grief>3@layer=1", "--alert-webhook", "nowhere"), "nowhere"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["serve", "--readout", str(bundle), "--model", "nowhere", *map(str, options)])
        error = capsys.readouterr().err
        assert (ended.value.code, error.count("error:")) == (2, 1)
        assert said in error, error
