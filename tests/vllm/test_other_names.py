"""Checkpoints whose tensors have other names in vLLM, in a real server: only the golden check tells that it is the same model.

vLLM fuses the experts of a mixture, and GPT-2 as it lies on the hub lacks the prefix that transformers writes today.
"""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from amygdala_tl.lens.hugging_face import run_decoder_layers
from amygdala_tl.readout.record import load_readout
from tests.vllm.bundles import add_golden, write_bundle
from tests.vllm.serving import TINY_SERVER, vllm_server

pytestmark = pytest.mark.needs_vllm

LAYERS = (1, 3)
TEXTS = ["The lamp went out.", "The tide came in again, as it does. " * 6]


@pytest.fixture(params=["qwen3_moe", "gpt2 of the hub"])
def folder(request, served_checkpoint, tmp_path):
    """A checkpoint that vLLM serves."""
    if request.param != "gpt2 of the hub":
        return served_checkpoint(request.param)
    copy = shutil.copytree(served_checkpoint("gpt2"), tmp_path / "gpt2")
    tensors = {name.removeprefix("transformer."): each for name, each in load_file(copy / "model.safetensors").items()}
    mask = torch.ones(128, 128).tril()[None, None]
    tensors |= {f"h.{layer}.attn.bias": mask.clone() for layer in range(4)}
    save_file(
        {name: each for name, each in tensors.items() if name != "lm_head.weight"},
        copy / "model.safetensors",
        {"format": "pt"},
    )
    return copy


def test_it_passes_the_golden_check_and_has_the_scores_of_hugging_face(folder, tmp_path):
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
