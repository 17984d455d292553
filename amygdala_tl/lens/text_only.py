"""The language model inside a multimodal model.

Where transformers has a text-only class for it (Gemma 3, Llava, Mistral 3, Qwen-VL, ...), that class takes over its modules,
and the towers for images and sound are let go. Where there is none, the whole stays, and is only run on text.
"""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMultimodalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MULTIMODAL_LM_MAPPING

from amygdala_tl.lens.hugging_face import text_decoder

_SAME_ON_TEXT = {
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
}
"""Decoders without a text-only class -> the one that computes the same for text, where a token's three positions are equal."""


def auto_class(config: Any) -> Any:
    """Return the class of transformers that loads a checkpoint with this configuration; None if it is no language model."""
    if config.get_text_config() is not config and type(config) in MODEL_FOR_MULTIMODAL_LM_MAPPING:
        return AutoModelForMultimodalLM
    remote = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    return AutoModelForCausalLM if remote or type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else None


def language_model(model: PreTrainedModel) -> PreTrainedModel:
    """Return the text-only model inside `model`, which shares its tensors; `model` itself if it has none."""
    decoder: Any = text_decoder(model)
    config = model.config.get_text_config()
    if config is model.config:
        return model
    if twin := _SAME_ON_TEXT.get(config.model_type):
        config = AutoConfig.for_model(
            twin, **{name: value for name, value in config.to_dict().items() if name != "model_type"}
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return model
    with torch.device("meta"):
        text: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    base: Any = text.base_model
    head, whole_head = text.get_output_embeddings(), model.get_output_embeddings()
    try:
        base.load_state_dict(decoder.state_dict(), assign=True, strict=False)
        for name, buffer in decoder.named_buffers():  # with those that no checkpoint holds
            owner, _, leaf = name.rpartition(".")
            setattr(base.get_submodule(owner), leaf, buffer)
        head.load_state_dict(whole_head.state_dict(), assign=True)
    except (RuntimeError, AttributeError):
        return model  # another decoder than that of its configuration, as in quantised models
    if whole_head.weight is decoder.get_input_embeddings().weight:
        head.weight = text.get_input_embeddings().weight
    if any(tensor.is_meta for tensor in (*text.parameters(), *text.buffers())):
        return model
    text.config._name_or_path = model.config._name_or_path
    return text.eval().requires_grad_(False)
