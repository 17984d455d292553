"""Tiny random checkpoints of kinds that need more than sizes."""

import functools
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoModelForMultimodalLM, PreTrainedModel, PreTrainedTokenizerFast

SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
}
_TEXT = SIZES | {"num_key_value_heads": 2, "head_dim": 8}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
_CLIP = _VISION | {"model_type": "clip_vision_model", "projection_dim": 32}
_QWEN_VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 4,
    "out_hidden_size": 32,
    "patch_size": 14,
}
_MROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}}
_CONFIGS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "gemma3": ("Gemma3Config", {}, _VISION),
    "llava": ("LlavaConfig", {"model_type": "llama"}, _CLIP),
    "mistral3": ("Mistral3Config", {"model_type": "mistral"}, _VISION | {"model_type": "pixtral"}),
    "qwen2_5_vl": ("Qwen2_5_VLConfig", _MROPE, _QWEN_VISION | {"fullatt_block_indexes": [1]}),
    "qwen3_vl": ("Qwen3VLConfig", _MROPE, _QWEN_VISION | {"deepstack_visual_indexes": [0, 1]}),
}
MULTIMODAL = {
    "gemma3": "Gemma3ForCausalLM",
    "llava": "LlamaForCausalLM",
    "mistral3": "MistralForCausalLM",
    "qwen2_5_vl": "Qwen2ForCausalLM",
    "qwen3_vl": "Qwen3ForCausalLM",
}
"""Kind of multimodal model -> class of the language model inside it."""


def multimodal(kind: str) -> PreTrainedModel:
    """A random multimodal model with as many layers for images as for text."""
    name, text, vision = _CONFIGS[kind]
    config = getattr(transformers, name)(text_config=_TEXT | text, vision_config=vision)
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForMultimodalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager"
    )
    return model.eval()


@functools.cache
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of bytes: 259 tokens."""
    built = Tokenizer(models.BPE(unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    specials = ["<unk>", "<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    built.train_from_iterator(
        [], trainers.BpeTrainer(vocab_size=259, special_tokens=specials, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=built, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def write_gguf(path: Path, leave_out: str = "") -> None:
    """Write a random Llama of two layers as a GGUF file, with a tokenizer of bytes, without the tensor `leave_out`."""
    from gguf import GGUFWriter

    vocabulary = byte_tokenizer().get_vocab()
    vocabulary |= {"th": len(vocabulary)}
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(32)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_rope_dimension_count(8)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(vocabulary, key=vocabulary.__getitem__))
    writer.add_token_types([1] * len(vocabulary))
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    generator = torch.Generator().manual_seed(0)

    def add(name: str, *shape: int) -> None:
        if name != leave_out:
            writer.add_tensor(f"{name}.weight", torch.randn(shape, generator=generator).mul(0.1).numpy())

    for name in ("token_embd", "output"):
        add(name, len(vocabulary), 32)
    add("output_norm", 32)
    for layer in range(2):
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{name}", 32)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            add(f"blk.{layer}.{name}", 32, 32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
