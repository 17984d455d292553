"""The two TransformerLens engines: HookedTransformer where TransformerLens has it and knows the architecture, else the bridge.

`HookedTransformer` re-implements the architectures that it knows; `TransformerBridge` hooks the Hugging Face model itself.
TransformerLens 4 has only the bridge. A re-implementation can be wrong for a variant that it takes for a known one, without a
word; so the residual stream is compared with the Hugging Face model's at load time, and the bridge takes over where it differs.
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

# Rounding alone moves resid_post by about 1e-6 (float32) and 2e-2 (bfloat16, deep layers) of its norm; a wrong rotary
# base, a missing bias or a wrong norm moves it by more than 0.1 within a few layers.
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 1e-1}


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


@torch.inference_mode()
def disagreement(model: Any, hf_model: PreTrainedModel) -> float:
    """Largest relative difference of resid_post between `model` and `hf_model`, over a few layers, on fixed token ids."""
    from amygdala_tl.lens.residuals import run_resid_post

    config = hf_model.config.get_text_config()
    n_layers, vocabulary = config.num_hidden_layers, config.vocab_size
    tokens = (torch.arange(1, 17) * 7919 % vocabulary).reshape(1, -1)
    layers = sorted({0, n_layers // 2, max(0, n_layers - 2)})
    hidden = hf_model(input_ids=tokens.to(hf_model.device), output_hidden_states=True, use_cache=False).hidden_states
    ours = run_resid_post(model, tokens, layers)
    worst = 0.0
    for index, layer in enumerate(layers):
        if layer == n_layers - 1:  # Hugging Face's last hidden state is after the final norm
            continue
        theirs = hidden[layer + 1].float().cpu()
        difference = (ours[:, :, index].float().cpu() - theirs).norm(dim=-1) / theirs.norm(dim=-1)
        worst = max(worst, float(difference.max().nan_to_num(nan=torch.inf)))
    return worst


def tolerance(dtype: torch.dtype) -> float:
    """How far two correct implementations may differ, relative, in `dtype`."""
    return _TOLERANCE.get(dtype, 1e-3)


def new_cache(model: Any, engine: Engine, batch: int) -> Any:
    """An empty KV cache for HookedTransformer; None for the bridge, which makes its own in the first pass."""
    if engine != "HookedTransformer":
        return None
    from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

    return TransformerLensKeyValueCache.init_cache(model.cfg, next(model.parameters()).device, batch)
