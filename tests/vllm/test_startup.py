"""The golden check of a server, on the rows that a real model's layers give; the engine around them is a stand-in."""

import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from amygdala_tl.errors import ReadoutError
from amygdala_tl.lens.hugging_face import run_decoder_layers
from amygdala_tl.readout.record import load_readout
from amygdala_tl.routes.store import Entry, Step
from tests.vllm.bundles import add_golden, write_bundle

pytestmark = pytest.mark.needs_vllm

TEXTS = ["The lamp went out.", "The tide came in again, as it does. " * 6]
LAYERS = (1, 2)


class Engine:
    """An engine that runs Hugging Face's model, and sends the rows of its layers as vLLM's engine does."""

    def __init__(self, collector, model, tokenizer, *, layers=LAYERS, context=512):
        self.model_config = types.SimpleNamespace(model="served", dtype=torch.float32, max_model_len=context)
        self.renderer = types.SimpleNamespace(tokenizer=tokenizer)
        self._collector, self._model, self._layers = collector, model, layers
        self.longest = 0

    async def generate(self, prompt, params, request_id):
        """Run a prompt, as far as `AsyncLLM.generate` with the plugin around it is concerned."""
        ids, store = prompt["prompt_token_ids"], self._collector.store
        self.longest = max(self.longest, len(ids))
        assert len(ids) + params.max_tokens <= self.model_config.max_model_len
        store.open(Entry(request_id + "-engine", request_id, 0, ids))
        outputs = run_decoder_layers(self._model, torch.tensor([ids]))
        streams = torch.stack([outputs[layer][0] for layer in self._layers], dim=1)
        scores = torch.einsum("tld,lcd->tlc", streams, self._collector.readout.vectors).numpy()
        store.add(Step(((request_id + "-engine", len(ids)),), np.arange(len(ids)), scores))
        store.running[request_id + "-engine"].output_ids.append(0)
        store.finish(request_id + "-engine")
        yield None


@pytest.fixture(scope="module")
def checkpoint(served_checkpoint):
    return served_checkpoint("llama")


@pytest.fixture
def model(checkpoint):
    """Its weights may be changed."""
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return AutoTokenizer.from_pretrained(checkpoint)


@pytest.fixture
def golden_collector(collector, model, tokenizer, tmp_path, monkeypatch):
    """The collector, with a readout that has golden texts of the model."""
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=LAYERS)
    monkeypatch.setattr(collector, "readout", load_readout(add_golden(bundle, model, tokenizer, TEXTS)))
    return collector


def check(engine, collector, tolerance=None):
    """Run the check, in a thread of its own: in this one a browser may keep its event loop."""
    import asyncio

    from amygdala_tl.vllm.startup import refuse_other_model

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, refuse_other_model(engine, collector, tolerance)).result()


def test_the_model_of_the_readout_passes_and_its_golden_requests_leave_nothing_behind(
    golden_collector, model, tokenizer, caplog
):
    caplog.set_level("INFO", logger="vllm.amygdala_tl")
    held = golden_collector.store.held
    check(Engine(golden_collector, model, tokenizer), golden_collector)
    assert "golden check passed" in caplog.text
    assert golden_collector.store.held == held


def test_layers_that_are_off_by_one_are_refused(golden_collector, model, tokenizer):
    for layers in ((0, 1), (2, 3), (1, 3)):
        engine = Engine(golden_collector, model, tokenizer, layers=layers)
        with pytest.raises(ReadoutError, match="is not the one that the readout was made for"):
            check(engine, golden_collector)


def test_a_context_shorter_than_the_golden_texts_still_proves_the_model(golden_collector, model, tokenizer):
    engine = Engine(golden_collector, model, tokenizer, context=9)
    check(engine, golden_collector)
    assert engine.longest == 8
    with pytest.raises(ReadoutError):
        check(Engine(golden_collector, model, tokenizer, layers=(0, 1), context=9), golden_collector)


def test_other_weights_are_refused_unless_the_operator_accepts_their_difference(
    golden_collector, model, tokenizer, caplog
):
    caplog.set_level("INFO", logger="vllm.amygdala_tl")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter + 0.02 * parameter.abs().mean() * torch.randn_like(parameter))
    engine = Engine(golden_collector, model, tokenizer)
    with pytest.raises(ReadoutError, match=r"set VLLM_READOUT_TOLERANCE=(\S+) to accept") as caught:
        check(engine, golden_collector)
    suggested = float(caught.value.remedy.split("TOLERANCE=")[1].split(" ")[0])
    check(engine, golden_collector, suggested)
    assert any(record.levelname == "WARNING" and "golden check passed" in record.message for record in caplog.records)
    with pytest.raises(ReadoutError):
        check(engine, golden_collector, suggested / 100)


def test_a_tokenizer_that_reads_the_golden_ids_as_another_text_is_refused(golden_collector, model, tokenizer):
    class Shifted:
        def decode(self, ids):
            return tokenizer.decode([one + 1 for one in ids])

    with pytest.raises(ReadoutError, match="the server's tokenizer is not the one of the readout"):
        check(Engine(golden_collector, model, Shifted()), golden_collector)
    check(Engine(golden_collector, model, None), golden_collector)  # a server that has none is asked for token ids


def test_a_tokenizer_that_gives_the_golden_texts_other_ids_is_served_with_a_warning(
    golden_collector, model, checkpoint, tokenizer, caplog
):
    check(Engine(golden_collector, model, tokenizer), golden_collector)
    assert "tokenizer" not in caplog.text
    other = AutoTokenizer.from_pretrained(checkpoint)
    other.add_tokens(["lamp"])
    check(Engine(golden_collector, model, other), golden_collector)
    assert "the server's tokenizer or chat template is not the one" in caplog.text
    assert "'The lamp went ou'... has other token ids from position" in caplog.text


def test_a_readout_without_golden_texts_is_served_with_a_warning(golden_collector, model, tokenizer, tmp_path, caplog):
    caplog.set_level("INFO", logger="vllm.amygdala_tl")
    golden_collector.readout = load_readout(write_bundle(tmp_path / "old.safetensors", d_model=64, layers=LAYERS))
    check(Engine(golden_collector, model, tokenizer), golden_collector)
    assert "it has no golden texts" in caplog.text
