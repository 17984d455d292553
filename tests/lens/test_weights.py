"""What a model's own weights write and read, beside the Hugging Face model that computes with them."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from amygdala_tl.activations.embedding import mean_embeddings
from amygdala_tl.lens.engines import has_hooked_transformer
from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.lens.weights import mlp_outputs, token_embeddings, unembedding
from amygdala_tl.records import CaptureSettings
from tests.models import VOCABULARY

KNOWN_TO_HOOKED_TRANSFORMER = ("llama", "gpt2")
RUNS = [
    pytest.param(
        model_type,
        engine,
        marks=pytest.mark.skipif(
            engine == "HookedTransformer" and not has_hooked_transformer(),
            reason="this TransformerLens has no HookedTransformer",
        ),
    )
    for model_type in ("llama", "gpt2", "gemma2")  # RMSNorm, LayerNorm, RMSNorm that keeps its gain less one
    for engine in ("HookedTransformer", "TransformerBridge")
    if engine == "TransformerBridge" or model_type in KNOWN_TO_HOOKED_TRANSFORMER
]
TOKENS = torch.randint(3, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(5))

Make = Callable[[str, str], tuple[Lens, PreTrainedModel]]


@pytest.fixture(scope="module")
def both(tiny_checkpoint: Callable[[str], Path]) -> Make:
    """A tiny checkpoint as this package loads it, and as Hugging Face does."""

    @functools.cache
    def make(model_type: str, engine: str) -> tuple[Lens, PreTrainedModel]:
        folder = tiny_checkpoint(model_type)
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        return load_model(str(folder), "float32", "cpu", engine=engine), theirs

    return make


def base_of(hf_model: PreTrainedModel) -> tuple[list[torch.nn.Module], torch.nn.Module]:
    """Decoder layers and final norm."""
    if hasattr(hf_model, "transformer"):
        return list(hf_model.transformer.h), hf_model.transformer.ln_f
    return list(hf_model.model.layers), hf_model.model.norm


@torch.inference_mode()
def last_residual_and_logits(hf_model: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """What the last decoder layer hands to the final norm, and the logits."""
    kept: list[Tensor] = []
    handle = base_of(hf_model)[1].register_forward_pre_hook(lambda _norm, arguments: kept.append(arguments[0]))
    logits = hf_model(input_ids=TOKENS, use_cache=False).logits
    handle.remove()
    return kept[0], logits


@pytest.mark.parametrize(("model_type", "engine"), RUNS)
def test_logits_of_the_last_residual_are_its_normed_direction_times_gain_and_matrix(both, model_type, engine):
    loaded, hf_model = both(model_type, engine)
    head = unembedding(loaded)
    residual, theirs = last_residual_and_logits(hf_model)
    assert head.centred == isinstance(base_of(hf_model)[1], torch.nn.LayerNorm)
    moved = residual - residual.mean(dim=-1, keepdim=True) if head.centred else residual
    # The checkpoints' epsilons are 1e-5 and below; the residuals' mean squares are above 0.1.
    unit = moved / moved.square().mean(dim=-1, keepdim=True).sqrt()
    ours = (unit * head.gain) @ head.matrix
    if head.centred:  # a LayerNorm's bias is the same for all streams, and no part of what a direction does
        ours = ours + base_of(hf_model)[1].bias.detach() @ head.matrix
    if cap := getattr(hf_model.config, "final_logit_softcapping", None):
        ours = torch.tanh(ours / cap) * cap
    assert residual.square().mean(dim=-1).min() > 0.1
    # Neither the gain nor the mean that is taken away could be left out without being seen.
    assert (head.gain - 1.0).abs().max() > 0.3
    assert (residual.mean(dim=-1).abs() / residual.std(dim=-1)).max() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    assert head.matrix.shape == (64, VOCABULARY)


@pytest.mark.parametrize(("model_type", "engine"), RUNS)
def test_mlp_outputs_are_the_rows_of_the_checkpoints_output_matrix_layer_by_layer(both, model_type, engine):
    loaded, hf_model = both(model_type, engine)
    found = list(mlp_outputs(loaded))
    assert [layer for layer, _ in found] == [0, 1, 2, 3]
    for layer, rows in found:
        mlp = base_of(hf_model)[0][layer].mlp
        # A Linear keeps [out, in], GPT-2's Conv1D [in, out].
        theirs = mlp.c_proj.weight if hasattr(mlp, "c_proj") else mlp.down_proj.weight.T
        torch.testing.assert_close(rows, theirs.detach(), rtol=0, atol=0)


@pytest.mark.parametrize(("model_type", "engine"), RUNS)
def test_a_neurons_row_is_what_the_stream_gets_when_the_neuron_fires(both, model_type, engine):
    loaded, hf_model = both(model_type, engine)
    layer, neuron = 2, 17
    mlp = base_of(hf_model)[0][layer].mlp
    output = mlp.c_proj if hasattr(mlp, "c_proj") else mlp.down_proj
    rows = dict(mlp_outputs(loaded))[layer]
    quiet = torch.zeros(1, 1, len(rows))
    firing = quiet.clone()
    firing[..., neuron] = 3.0
    with torch.inference_mode():
        added = (output(firing) - output(quiet))[0, 0]
    torch.testing.assert_close(added, 3.0 * rows[neuron], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("model_type", "engine"), RUNS)
def test_token_embeddings_are_what_enters_the_first_layer_but_for_positions_and_one_factor(both, model_type, engine):
    loaded, hf_model = both(model_type, engine)
    table = token_embeddings(loaded)
    assert table.shape == (VOCABULARY, 64)
    with torch.inference_mode():
        entering = hf_model(input_ids=TOKENS, output_hidden_states=True, use_cache=False).hidden_states[0]
    if model_type == "gpt2":
        entering = entering - hf_model.transformer.wpe.weight[: TOKENS.shape[1]].detach()
    # Gemma multiplies by sqrt(d_model) = 8 on the way in; the engines differ in whether the table has it in it.
    factor = 8.0 if model_type == "gemma2" and engine == "TransformerBridge" else 1.0
    torch.testing.assert_close(factor * table[TOKENS], entering, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("template", ["none", "user"])
def test_a_texts_mean_embedding_is_that_of_its_own_tokens_without_the_templates(tiny, template):
    texts = ["The lamp went out and nobody lit it again.", "Four gulls."]
    found = mean_embeddings(tiny, texts, CaptureSettings(chat_template=template))
    assert found.shape == (2, 1, 64)
    table = token_embeddings(tiny)
    for row, text in enumerate(texts):
        ids = tiny.tokenizer(text, add_special_tokens=False).input_ids
        torch.testing.assert_close(found[row, 0], table[ids].mean(dim=0), rtol=1e-5, atol=1e-6)


def test_a_model_without_one_plain_mlp_a_layer_gives_no_rows_for_that_layer(tiny):
    class Experts(torch.nn.Module):
        W_out = torch.zeros(4, 8, 64)  # [expert, neuron, d_model]

    class Block(torch.nn.Module):
        def __init__(self, mlp: torch.nn.Module) -> None:
            super().__init__()
            self.mlp = mlp

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            blocks = [Block(Experts()), tiny.model.blocks[1], Block(torch.nn.Identity())]
            self.blocks = torch.nn.ModuleList(blocks)

    mixed = Lens(model=Model(), tokenizer=tiny.tokenizer, info=tiny.info, device=tiny.device)
    assert [layer for layer, _ in mlp_outputs(mixed)] == [1]
