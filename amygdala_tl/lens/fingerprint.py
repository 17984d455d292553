"""Hashes of what an activation depends on: weights, configuration, tokenizer.

The weights are hashed whole and in the order of the model's definition, without their names: checkpoints that name the same
tensors differently, or store an expert's matrices apart, load into the same parameters.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

RENAMED = "tl-"
"""Prefix of a fingerprint over the parameters of TransformerLens, which no checkpoint can have."""

_CHUNK = 1 << 24  # values at a time, so that the copy of a large embedding stays small
_NOT_COMPUTED = frozenset({
    "architectures", "dtype", "torch_dtype", "transformers_version", "name_or_path", "use_cache", "return_dict",
    "output_attentions", "output_hidden_states", "problem_type", "id2label", "label2id", "chunk_size_feed_forward",
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id", "tie_word_embeddings",
    "initializer_range", "pretraining_tp", "attention_dropout", "hidden_dropout", "embd_pdrop", "attn_pdrop", "resid_pdrop",
    "is_encoder_decoder", "tokenizer_class", "task_specific_params",
})  # fmt: skip
"""Fields of a configuration on which the residual stream in evaluation mode does not depend."""


def weights_fingerprints(tensors: Iterable[Tensor]) -> tuple[str, str]:
    """Return (sha256 of all values rounded to bfloat16, sha256 of the values as they are), hexadecimal, in the order given.

    Every value counts. A tensor that occurs twice, as a tied embedding does, counts once. This reads the weights once, with as
    many threads as there are processors, at about 1.4 GB a second each where the processor has instructions for SHA.
    """
    unique = {id(tensor): tensor for tensor in tensors}.values()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(_digests, unique))
    rounded, exact = (hashlib.sha256(b"".join(parts)).hexdigest() for parts in zip(*digests, strict=True))
    return rounded, exact


def _digests(tensor: Tensor) -> tuple[bytes, bytes]:
    shape = str(tuple(tensor.shape)).encode()
    rounded, rest = hashlib.sha256(shape), hashlib.sha256(str(tensor.dtype).encode())
    for part in torch.split(tensor.detach().reshape(-1), _CHUNK):
        values = part.cpu()
        half = values.to(torch.bfloat16) if values.is_floating_point() else values  # packed integers stay as they are
        rounded.update(half.view(torch.uint8).numpy().data)
        if values.dtype == torch.float32:  # the half that rounding drops; together they are the value
            rest.update(values.view(torch.int16)[::2].contiguous().numpy().data)
        elif values.dtype != torch.bfloat16:
            rest.update(values.view(torch.uint8).numpy().data)
    return rounded.digest(), rounded.digest() + rest.digest()


def computed_config(config: PretrainedConfig) -> Mapping[str, Any]:
    """Return the fields of a text model's configuration that its residual stream may depend on, as JSON."""
    said: dict[str, Any] = json.loads(config.get_text_config().to_json_string(use_diff=False))
    return {name: value for name, value in said.items() if name not in _NOT_COMPUTED and not name.startswith("_")}


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Return the sha256 of a fast tokenizer's vocabulary and rules, hexadecimal; empty for a slow one.

    Truncation and padding, which a caller switches on and off, come before the added tokens in its serialisation.
    """
    if not getattr(tokenizer, "is_fast", False):
        return ""
    said: str = tokenizer.backend_tokenizer.to_str()
    return hashlib.sha256(said[said.index('"added_tokens"') :].encode()).hexdigest()
