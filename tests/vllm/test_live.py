"""The live view and its client against vLLM itself."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from amygdala_tl import readout_client
from amygdala_tl.errors import KeyRefused, LiveUnreachable, RequestUnknown
from tests.live.terminal import terminal
from tests.vllm.bundles import write_bundle
from tests.vllm.serving import free_port, vllm_server

pytestmark = pytest.mark.needs_vllm

KEY = "secret"
LAYERS = (1, 3)
CONCEPTS = ("awe", "calm", "grief")
ASK = {"model": "m", "prompt": "The lamp went out.", "temperature": 0, "ignore_eos": True, "return_token_ids": True}
SETTINGS = ("--enforce-eager", "--max-model-len", "512", "--api-key", KEY)
SHOW = {"VLLM_READOUT_STREAM_TEXT": "1"}
INTERPRETED = """
from types import SimpleNamespace
from triton.backends import backends

backends["cpu"] = SimpleNamespace(driver=SimpleNamespace(is_active=lambda: True))
"""
"""Lets Triton's interpreter run the kernels of model runner V2: Triton's releases have no compiler for CPUs."""


@pytest.fixture(scope="module")
def checkpoint(served_checkpoint):
    return served_checkpoint("llama")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    tokens = {"mean": [[0.5] * 3] * 2, "std": [[0.25] * 3] * 2, "n": 1000}
    path = tmp_path_factory.mktemp("bundle") / "r.safetensors"
    return write_bundle(path, d_model=64, layers=LAYERS, concepts=CONCEPTS, calibration={"tokens": tokens})


@pytest.fixture(scope="module")
def server(checkpoint, bundle):
    with vllm_server(*SETTINGS, bundle=bundle, model=checkpoint, **SHOW) as running:
        yield running


def ask(running, **more):
    """A streamed completion's chunks."""
    with running.client.stream("POST", "/v1/completions", json=ASK | {"stream": True} | more) as response:
        assert response.status_code == 200
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def at_once(running):
    """The (token id, scores) of greedy answers to prompts of several lengths, generated at once."""

    def one(times):
        chunks = ask(running, prompt="The lamp went out. " * times, max_tokens=9)
        choices = [chunk["choices"][0] for chunk in chunks]
        return [pair for each in choices for pair in zip(each["token_ids"], each["readout"], strict=True)]

    with ThreadPoolExecutor(6) as pool:
        return [pair for answer in pool.map(one, (1, 3, 9, 2, 28, 5)) for pair in answer]


def test_the_client_reads_what_the_completions_carry(server):
    with readout_client(server.url, token=KEY) as client:
        served = client.manifest()
        assert (served.concepts, served.layers, client.served_model()) == (CONCEPTS, LAYERS, "m")
        found, connected = [], threading.Event()

        def listen():
            for generated in client.stream():
                found.append(generated)
                if sum(len(one.token_ids) for one in found) >= 12:
                    return

        thread = threading.Thread(target=lambda: (connected.set(), listen()))
        thread.start()
        connected.wait()
        time.sleep(2)  # the server says nothing of a reader that has come
        chunks = ask(server, max_tokens=12)
        thread.join(60)
        assert not thread.is_alive()
    rows = [row for chunk in chunks for row in chunk["choices"][0]["readout"]]
    assert np.concatenate([one.scores for one in found]).tolist() == np.asarray(rows, dtype=np.float32).tolist()
    assert [one.first for one in found] == np.cumsum([0, *(len(one.token_ids) for one in found)])[:-1].tolist()
    assert "".join(one.text for one in found) == "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert {one.request_id for one in found} == {chunks[0]["id"] + "-0"}
    z = served.z(found[0].scores)
    assert z == pytest.approx((found[0].scores - 0.5) / 0.25, abs=1e-4)


def test_the_client_reads_every_position_of_a_request(server):
    answer = server.client.post("/v1/completions", json=ASK | {"max_tokens": 6}).json()
    (choice,) = answer["choices"]
    with readout_client(server.url + "/v1/", token=KEY) as client:
        (sequence,) = client.request(answer["id"])
        assert sequence.finished
        assert sequence.token_ids == (*choice["prompt_token_ids"], *choice["token_ids"])
        assert sequence.prompt_tokens == len(choice["prompt_token_ids"])
        computed = np.isfinite(sequence.scores).all(axis=(1, 2))
        assert not computed[-1], "the last token is sampled and not run"
        own = sequence.scores[sequence.prompt_tokens - 1 : -1]
        assert own.tolist() == np.asarray(choice["readout"], dtype=np.float32).tolist()
        with pytest.raises(RequestUnknown, match="cmpl-nothing: no such request"):
            client.request("cmpl-nothing")


def test_the_client_is_told_of_a_key_that_is_missing_or_wrong(server, monkeypatch):
    for token in (None, "another"):
        with readout_client(server.url, token=token) as client, pytest.raises(KeyRefused, match="AMYGDALA_VLLM_TOKEN"):
            client.manifest()
    monkeypatch.setenv("AMYGDALA_VLLM_TOKEN", KEY)
    with readout_client(server.url) as client:
        assert client.manifest().layers == LAYERS


def test_watch_shows_what_the_server_generates(server):
    with terminal("watch", server.url, AMYGDALA_VLLM_TOKEN=KEY) as seen:
        seen.until("m  http://127", "layer 1 (1/2)", "waiting for the first token")
        time.sleep(2)
        thread = threading.Thread(target=lambda: ask(server, max_tokens=400))
        thread.start()
        text = seen.until("last tokens", *CONCEPTS, gone=["waiting", " 0.0 tokens/s"])
        assert "all 3, full bar" in text
        seen.press("2")
        seen.until("layer 3 (2/2)  z, now")
        seen.press("rm")
        seen.until("raw, recent mean")
        seen.resize(120, 40)
        seen.until_that(lambda: "last tokens" in seen.line_with("full bar"), "tokens beside the bars")
        seen.resize(40, 20)
        seen.until("raw mean")
        thread.join(60)
        seen.resize(80, 24)
        seen.until("400 tokens")
        server.client.post("/v1/completions", json=ASK | {"max_tokens": 20})  # not streamed: all at its end
        seen.until("(20 tokens)", "420 tokens")
        seen.press("q")
        assert seen.ended() == 0


def test_watch_says_that_a_key_is_needed(server):
    with terminal("watch", server.url) as seen:
        seen.until("the server requires an API key", "AMYGDALA_VLLM_TOKEN", gone=["secret"])
        seen.press("q")
        assert seen.ended() == 0


def test_a_server_that_goes_away_comes_back_with_model_runner_v2_and_the_same_scores(
    server, checkpoint, bundle, tmp_path
):
    port = free_port()
    (tmp_path / "sitecustomize.py").write_text(INTERPRETED)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    v2 = {"VLLM_USE_V2_MODEL_RUNNER": "1", "TRITON_INTERPRET": "1", "PYTHONPATH": path}
    arguments = (*SETTINGS[:-2], "--max-num-batched-tokens", "32")  # so that prompts are read in pieces
    with readout_client(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(LiveUnreachable, match="no answer"):
            client.manifest()
        with terminal("watch", f"http://127.0.0.1:{port}") as seen:
            seen.until("server unreachable; trying again")
            with vllm_server(*arguments, bundle=bundle, model=checkpoint, port=port, **v2) as running:
                seen.until("layer 1 (1/2)", "waiting for the first token", gone=["unreachable"])
                time.sleep(1)
                ask(running, max_tokens=12)
                seen.until("12 tokens", *CONCEPTS)
                assert "Using V2 Model Runner" in running.log.read_text()
                (tokens, scores), (expected, right) = (zip(*at_once(one), strict=True) for one in (running, server))
                assert tokens == expected
                np.testing.assert_allclose(scores, right, rtol=1e-4, atol=1e-4)
            text = seen.until("server unreachable; trying again")
            assert all(concept in text for concept in CONCEPTS), "what was read stays on the screen"
            seen.press("q")
            assert seen.ended() == 0
