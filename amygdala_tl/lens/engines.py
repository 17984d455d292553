"""The two TransformerLens engines: HookedTransformer where TransformerLens has it and knows the architecture, else the bridge.

`HookedTransformer` re-implements the architectures that it knows; `TransformerBridge` hooks the Hugging Face model itself.
TransformerLens 4 has only the bridge. Both re-implement something (the bridge: norms and attention), and can be wrong for a
variant that they take for a known one, without a word; so `load_model` compares their residual stream with Hugging Face's.
"""

import copy
import importlib.util
import tempfile
import warnings
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from amygdala_tl.errors import ModelError

Engine = Literal["HookedTransformer", "TransformerBridge"]


def has_hooked_transformer() -> bool:
    """True if the installed TransformerLens has HookedTransformer (removed in 4.0)."""
    return importlib.util.find_spec("transformer_lens.HookedTransformer") is not None


def build_hooked_transformer(hf_model: PreTrainedModel, device: torch.device, n_devices: int = 1) -> Any | None:
    """`hf_model` as a HookedTransformer without weight processing, or None where TransformerLens does not know it.

    The configuration goes through a folder with a neutral name: TransformerLens 3.9 guesses architectures from substrings of
    the path it is given ("llama", "gemma", "bert").
    """
    if not has_hooked_transformer():
        return None
    from transformer_lens import HookedTransformer
    from transformer_lens.loading_from_pretrained import get_pretrained_model_config, get_pretrained_state_dict

    with tempfile.TemporaryDirectory(prefix="cfg-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what replaces it is below, and is used where it is gone
        _config_for_transformer_lens(hf_model).save_pretrained(folder)
        try:
            cfg = get_pretrained_model_config(folder, device=str(device), n_devices=n_devices, dtype=hf_model.dtype)
            state = get_pretrained_state_dict(folder, cfg, hf_model=hf_model, dtype=hf_model.dtype)
        except (NotImplementedError, ValueError, KeyError, AttributeError, TypeError, AssertionError):
            return None  # not an architecture, or not a variant, that it knows
        cfg.tokenizer_name = None  # texts are tokenized once, outside
        model = HookedTransformer(cfg, move_to_device=False)
        model.load_and_process_state_dict(
            state, fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False
        )
        model.move_model_modules_to_device()
    return model.eval()


def _config_for_transformer_lens(hf_model: PreTrainedModel) -> Any:
    """The model's configuration with the two fields that TransformerLens reads and newer checkpoints may leave out."""
    config = copy.deepcopy(hf_model.config)
    config.architectures = [type(hf_model).__name__]
    if not hasattr(config, "n_ctx") and hasattr(config, "max_position_embeddings"):
        config.n_ctx = config.max_position_embeddings
    return config


def build_bridge(hf_model: PreTrainedModel, tokenizer: Any, device: torch.device, name: str) -> Any:
    """`hf_model` with TransformerLens hooks around its own modules.

    Raises:
        ModelError: TransformerLens has no adapter for the architecture.
    """
    from transformer_lens.model_bridge import TransformerBridge

    try:
        return TransformerBridge.boot_transformers(
            name, hf_model=hf_model.to(device), tokenizer=tokenizer, dtype=hf_model.dtype, device=str(device)
        ).eval()
    except (NotImplementedError, ValueError, KeyError) as cause:
        raise ModelError(
            "TransformerLens knows no such architecture",
            label=name,
            got=type(hf_model).__name__,
            remedy="update transformer-lens, or choose another model",
        ) from cause


def new_cache(model: Any, engine: Engine, batch: int) -> Any:
    """An empty KV cache for HookedTransformer; None for the bridge, which makes its own in the first pass."""
    if engine != "HookedTransformer":
        return None
    from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

    return TransformerLensKeyValueCache.init_cache(model.cfg, next(model.parameters()).device, batch)
