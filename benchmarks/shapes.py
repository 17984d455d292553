"""Models of usual shapes with random weights, for measurements of speed: what they compute means nothing."""

from pathlib import Path
from typing import Any

from transformers import LlamaConfig, PretrainedConfig, Qwen3_5TextConfig, Qwen3Config

from amygdala_tl.lens.embedded import embedded_checkpoint

SIZES: dict[str, Any] = {
    # Llama 3.2 1B, Llama 3.1 8B, Qwen3 32B and the text part of Qwen3.5 27B, from their configurations.
    "1B": (LlamaConfig, {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
                         "num_key_value_heads": 8, "head_dim": 64}),
    "8B": (LlamaConfig, {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
                         "num_key_value_heads": 8}),
    "32B": (Qwen3Config, {"hidden_size": 5120, "intermediate_size": 25600, "num_hidden_layers": 64, "num_attention_heads": 64,
                          "num_key_value_heads": 8, "head_dim": 128}),
    "27B hybrid": (Qwen3_5TextConfig, {"hidden_size": 5120, "intermediate_size": 17408, "num_hidden_layers": 64,
                                       "num_attention_heads": 24, "num_key_value_heads": 4, "head_dim": 256,
                                       "linear_num_key_heads": 16, "linear_num_value_heads": 48}),
}  # fmt: skip


def config_of(size: str, **more: Any) -> PretrainedConfig:
    """Configuration of a size, with the embedded model's vocabulary."""
    kind, shape = SIZES[size]
    return kind(**shape, vocab_size=49_152, max_position_embeddings=8192, **more)


def write_checkpoint(size: str, folder: Path) -> Path:
    """A checkpoint without weights, for vLLM's `--load-format dummy`, with the embedded model's tokenizer."""
    model = SIZES[size][0].__name__.replace("TextConfig", "").replace("Config", "") + "ForCausalLM"
    config_of(size, dtype="bfloat16", bos_token_id=1, eos_token_id=2, architectures=[model]).save_pretrained(folder)
    for file in embedded_checkpoint().glob("*t[eo][mk][pe]*"):  # tokenizer and chat template
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
