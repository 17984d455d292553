"""A mixture of experts in a real server: vLLM fuses its tensors, and only the golden check tells that it is the same model."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from amygdala_tl.lens.hugging_face import run_decoder_layers
from amygdala_tl.readout.record import load_readout
from tests.vllm.bundles import add_golden, write_bundle
from tests.vllm.serving import TINY_SERVER, vllm_server

pytestmark = pytest.mark.needs_vllm

LAYERS = (1, 3)
TEXTS = ["The lamp went out.", "The tide came in again, as it does. " * 6]


def test_it_passes_the_golden_check_and_has_the_scores_of_hugging_face(served_checkpoint, tmp_path):
    folder = served_checkpoint("qwen3_moe")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=LAYERS)
    add_golden(bundle, model, tokenizer, TEXTS)
    with vllm_server(*TINY_SERVER, bundle=bundle, model=folder) as running:
        assert "golden check passed" in running.log.read_text()
        asked = {"model": "m", "prompt": "One day, ", "max_tokens": 8, "temperature": 0, "return_token_ids": True}
        (choice,) = running.client.post("/v1/completions", json=asked | {"ignore_eos": True}).json()["choices"]
    ids = [*choice["prompt_token_ids"], *choice["token_ids"]]
    outputs = run_decoder_layers(model, torch.tensor([ids]))
    streams = torch.stack([outputs[layer][0] for layer in LAYERS], dim=1)
    own = load_readout(bundle).scores(streams)[len(choice["prompt_token_ids"]) - 1 : -1]
    torch.testing.assert_close(torch.tensor(choice["readout"]), own, rtol=1e-3, atol=1e-3)
