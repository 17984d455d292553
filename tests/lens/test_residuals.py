"""resid_post from both engines equals what the Hugging Face model itself hands from layer to layer."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from amygdala_tl.errors import ModelError
from amygdala_tl.lens import bridge_repairs
from amygdala_tl.lens.checkpoints import load_checkpoint
from amygdala_tl.lens.embedded import embedded_checkpoint
from amygdala_tl.lens.engines import has_hooked_transformer
from amygdala_tl.lens.hugging_face import decoder_layers
from amygdala_tl.lens.model import lens_of, load_model
from amygdala_tl.lens.residuals import run_resid_post
from tests.models import TINY, TINY_FOR_VLLM, VOCABULARY

ENGINES = [
    pytest.param(
        "HookedTransformer",
        marks=pytest.mark.skipif(not has_hooked_transformer(), reason="this TransformerLens has no HookedTransformer"),
    ),
    "TransformerBridge",
]
KNOWN_TO_HOOKED_TRANSFORMER = {"llama", "qwen3", "gpt2", "opt"}
TOLERANCE = 1e-5


def hugging_face_layers(folder: Path, tokens: Tensor) -> tuple[PreTrainedModel, dict[int, Tensor]]:
    """The output of every decoder layer, taken from the layer itself: the last hidden state is after the final norm."""
    # Eager: SDPA leaves out Gemma 2's soft-capping of attention scores.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    blocks = decoder_layers(model)
    outputs: dict[int, Tensor] = {}

    def keep(index: int) -> Callable[..., None]:
        def hook(_module: object, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            outputs[index] = output if isinstance(output, Tensor) else output[0]

        return hook

    for index, block in enumerate(blocks):
        block.register_forward_hook(keep(index))
    with torch.inference_mode():
        hidden = model(input_ids=tokens, output_hidden_states=True).hidden_states
    for index in range(len(blocks) - 1):  # the two ways to read Hugging Face agree
        torch.testing.assert_close(outputs[index], hidden[index + 1])
    return model, outputs


def worst_relative(ours: Tensor, theirs: Tensor) -> float:
    """Largest relative error of a token's vector."""
    return float(((ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)).max())


@pytest.mark.parametrize("engine", ENGINES)
def test_the_embedded_models_resid_post_equals_hugging_face_at_first_middle_and_last_layer(engine):
    tokens = torch.randint(3, 40000, (3, 40), generator=torch.Generator().manual_seed(1))
    _, theirs = hugging_face_layers(embedded_checkpoint(), tokens)
    loaded = load_model("embedded", "float32", "cpu", engine=engine)
    layers = [0, 15, 29]
    ours = run_resid_post(loaded.model, tokens, layers)
    assert loaded.info.engine == engine
    for column, layer in enumerate(layers):
        assert worst_relative(ours[:, :, column], theirs[layer]) < TOLERANCE, layer


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model_type", TINY | TINY_FOR_VLLM)
def test_tiny_random_checkpoints_resid_post_equals_hugging_face_at_every_layer(model_type, engine, tiny_checkpoint):
    if engine == "HookedTransformer" and model_type not in KNOWN_TO_HOOKED_TRANSFORMER:
        pytest.skip(
            f"HookedTransformer does not know this {model_type}; the next test shows that the bridge takes over"
        )
    tokens = torch.randint(3, VOCABULARY, (2, 30), generator=torch.Generator().manual_seed(2))
    _, theirs = hugging_face_layers(tiny_checkpoint(model_type), tokens)
    loaded = load_model(str(tiny_checkpoint(model_type)), "float32", "cpu", engine=engine)
    ours = run_resid_post(loaded.model, tokens, range(4))
    for layer in range(4):
        assert worst_relative(ours[:, :, layer], theirs[layer]) < TOLERANCE, layer


@pytest.mark.parametrize("model_type", ["llama", "gpt2"])
@pytest.mark.parametrize("engine", ENGINES)
def test_weights_are_in_memory_once(model_type, engine, tiny_checkpoint):
    checkpoint = load_checkpoint(str(tiny_checkpoint(model_type)), torch.float32)
    ours = {weight.untyped_storage().data_ptr() for weight in checkpoint.hf_model.parameters()}
    model = lens_of(checkpoint, [torch.device("cpu")], engine=engine).model
    more = {weight.untyped_storage().data_ptr(): weight.numel() for weight in model.parameters() if weight.numel()}
    added = sum(size for pointer, size in more.items() if pointer not in ours)
    tied = checkpoint.hf_model.config.tie_word_embeddings and engine == "HookedTransformer"
    allowed = (
        checkpoint.hf_model.get_input_embeddings().weight.numel() if tied else 0
    )  # TransformerLens processes them apart
    assert added - allowed < 0.03 * sum(weight.numel() for weight in checkpoint.hf_model.parameters())  # zero biases


@pytest.mark.parametrize("model_type", TINY | TINY_FOR_VLLM)
def test_the_engine_that_auto_chooses_equals_hugging_face(model_type, tiny_checkpoint):
    tokens = torch.randint(3, VOCABULARY, (2, 30), generator=torch.Generator().manual_seed(3))
    _, theirs = hugging_face_layers(tiny_checkpoint(model_type), tokens)
    loaded = load_model(str(tiny_checkpoint(model_type)), "float32", "cpu")
    assert loaded.info.engine == "TransformerBridge"
    ours = run_resid_post(loaded.model, tokens, range(4))
    assert max(worst_relative(ours[:, :, layer], theirs[layer]) for layer in range(4)) < TOLERANCE


@pytest.mark.skipif(
    not has_hooked_transformer(), reason="the bridge of TransformerLens 4 computes Cohere right by itself"
)
@pytest.mark.parametrize("engine", ["auto", "TransformerBridge"])
def test_a_model_that_the_bridge_computes_otherwise_is_refused(engine, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(bridge_repairs, "_ADJACENT_PAIRS", ())  # then Cohere's heads are rotated as Llama's
    with pytest.raises(ModelError, match="a different residual stream from Hugging Face"):
        load_model(str(tiny_checkpoint("cohere")), "float32", "cpu", engine=engine)


def test_a_layer_shifted_by_one_would_be_seen(tiny_checkpoint):
    tokens = torch.randint(3, VOCABULARY, (2, 30), generator=torch.Generator().manual_seed(4))
    _, theirs = hugging_face_layers(tiny_checkpoint("llama"), tokens)
    ours = run_resid_post(load_model(str(tiny_checkpoint("llama")), device="cpu").model, tokens, [1])
    assert worst_relative(ours[:, :, 0], theirs[2]) > 1e-2
