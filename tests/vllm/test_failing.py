"""A server whose readouts fail, by a socket that is gone and an engine that runs out of room: generation knows nothing of it."""

import shutil
import tempfile
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from amygdala_tl.lens.hugging_face import run_decoder_layers
from amygdala_tl.readout.record import load_readout
from tests.vllm.bundles import write_bundle
from tests.vllm.serving import TINY_SERVER, stream, vllm_server

pytestmark = pytest.mark.needs_vllm

N_TOKENS = 24
IDS = list(range(100, 140))
ASK = {
    "model": "m",
    "prompt": IDS,
    "max_tokens": N_TOKENS,
    "temperature": 0,
    "ignore_eos": True,
    "return_token_ids": True,
}
FAULT = """
import itertools
from amygdala_tl.vllm.projection import Projection
first, calls = Projection.first, itertools.count(1)

def sometimes(self, n_tokens):
    if next(calls) % 5 == 0:
        raise MemoryError("no room for the scores of a step")
    return first(self, n_tokens)

Projection.first = sometimes
"""


@pytest.fixture(scope="module")
def model(served_checkpoint):
    """Hugging Face's own model of what is served."""
    return AutoModelForCausalLM.from_pretrained(served_checkpoint("llama"), dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Random directions at two layers."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "r.safetensors", d_model=64, layers=(1, 3))


@pytest.fixture(scope="module")
def right(model):
    """What the model generates."""
    ids = torch.tensor([IDS])
    found = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=N_TOKENS,
                           min_new_tokens=N_TOKENS, suppress_tokens=None)  # fmt: skip
    return found[0, len(IDS) :].tolist()


@pytest.fixture(scope="module")
def scores(model, bundle, right):
    """The scores of the streams that each token is sampled from, [token, layer, concept]."""
    outputs = run_decoder_layers(model, torch.tensor([IDS + right]))
    streams = torch.stack([outputs[1][0], outputs[3][0]], dim=1)[len(IDS) - 1 : -1]
    return torch.einsum("tld,lcd->tlc", streams, load_readout(bundle).vectors)


@pytest.fixture(scope="module")
def server(served_checkpoint, bundle):
    """A server whose every fifth step's rows are lost, and the folder of whose socket is swept away; yields that folder too."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        (Path(folder) / "sitecustomize.py").write_text(FAULT)
        with vllm_server(
            *TINY_SERVER, bundle=bundle, model=served_checkpoint("llama"),
            PYTHONPATH=folder, TMPDIR=folder,
        ) as running:  # fmt: skip
            (home,) = Path(folder).glob("amygdala-tl-*")
            shutil.rmtree(home)
            yield running, home


def answer(running):
    """Tokens and readouts of a request, and how long it took."""
    start = time.monotonic()
    (choice,) = running.client.post("/v1/completions", json=ASK).json()["choices"]
    return choice["token_ids"], choice["readout"], time.monotonic() - start


def test_without_its_socket_the_server_generates_the_same_and_counts_what_is_missing(server, right):
    running, _ = server
    for number in (1, 2, 3):
        tokens, readout, seconds = answer(running)
        assert tokens == right
        assert readout == [None] * N_TOKENS
        metrics = running.metrics()
        assert metrics['failures_total{where="receive"}'] == number
        assert metrics['positions_missing_total{reason="lost"}'] == number * (len(IDS) + N_TOKENS - 1)
        assert number == 1 or seconds < 4.0  # rows that never come are waited for once, for 5 seconds
    chunks = stream(running, "/v1/completions", {**ASK, "stream": True})
    assert [token for chunk in chunks for token in chunk["choices"][0]["token_ids"]] == right
    assert running.log.read_text().count("failure (receive)") == 1


def test_once_the_socket_can_be_made_readouts_come_and_steps_that_fail_are_null_and_counted(server, right, scores):
    running, home = server
    home.mkdir()
    deadline = time.monotonic() + 60
    while all(row is None for row in answer(running)[1]):
        assert time.monotonic() < deadline, "no readout came"
    before = running.metrics()
    tokens, readout, _ = answer(running)
    after = running.metrics()
    assert tokens == right
    there = [index for index, row in enumerate(readout) if row is not None]
    lost = N_TOKENS - len(there)
    assert N_TOKENS // 5 <= lost <= N_TOKENS // 5 + 1
    found, expected = torch.tensor([readout[index] for index in there]), scores[there]
    assert float(((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max()) < 1e-4
    counted = after['failures_total{where="engine"}'] - before['failures_total{where="engine"}']
    assert lost <= counted <= lost + 1  # a step past the end may be among them
    assert after['failures_total{where="answer"}'] == 0
    assert running.log.read_text().count("failure (engine)") == 1
