"""The two TransformerLens engines, and the choice between them.

`HookedTransformer` re-implements the architectures that it knows; `TransformerBridge` hooks the Hugging Face model itself.
TransformerLens 4 has only the bridge. Both re-implement something (the bridge: norms and attention). They can be silently wrong
for a variant that they take for a known architecture, so `choose_engine` compares their residual stream with Hugging Face's.
"""

import copy
import importlib.util
import tempfile
import warnings
from functools import partial
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.bridge_repairs import repair_rotation
from amygdala_tl.lens.checkpoints import Checkpoint
from amygdala_tl.lens.hugging_face import context_of, run_decoder_layers
from amygdala_tl.lens.identity import golden_layers, golden_tokens
from amygdala_tl.lens.parity import TOLERANCES, relative_difference
from amygdala_tl.lens.residuals import run_resid_post

Engine = Literal["HookedTransformer", "TransformerBridge"]
_REMEDY = "update transformer-lens, or choose another model"


def choose_engine(
    checkpoint: Checkpoint, device: torch.device, *, n_devices: int = 1, engine: Literal["auto"] | Engine = "auto"
) -> tuple[Any, Engine]:
    """Build the engine that computes the same residual stream as the checkpoint's own model, and return it with its name.

    It is unprocessed and in evaluation mode. The bridge puts its own modules into the checkpoint's model. Other arguments are as
    in `load_model`.

    Raises:
        ModelError: no engine knows the architecture or agrees with Hugging Face.
    """
    hf_model, wrong = checkpoint.hf_model, partial(ModelError, label=checkpoint.id)
    tokens = golden_tokens(hf_model.get_input_embeddings().weight.shape[0], context_of(hf_model))
    outputs = run_decoder_layers(hf_model, tokens)
    expected = {layer: outputs[layer].cpu() for layer in golden_layers(len(outputs))}
    del outputs
    architecture, allowed = type(hf_model).__name__, TOLERANCES[str(hf_model.dtype).removeprefix("torch.")]

    def difference(model: Any) -> float:
        ours = run_resid_post(model, tokens, list(expected)).cpu()
        return max(relative_difference(ours[:, :, at], theirs) for at, theirs in enumerate(expected.values()))

    if engine != "TransformerBridge":
        hooked = build_hooked_transformer(hf_model, device, n_devices)
        if hooked is not None:
            if (found := difference(hooked)) <= allowed:
                return hooked, "HookedTransformer"
            apart = f"differs from Hugging Face's by {found:.1e} (relative) for {checkpoint.id}"
            warnings.warn(f"HookedTransformer's residual stream {apart}; using TransformerBridge.", stacklevel=3)
        if engine == "HookedTransformer":
            got = architecture if has_hooked_transformer() else "TransformerLens without it"
            raise wrong("HookedTransformer cannot run this model", got=got, remedy="leave the engine to `auto`")
    if n_devices > 1:
        raise ModelError("TransformerBridge runs on one device", got=f"n_devices={n_devices}", remedy="use one device")
    bridge = _build_bridge(checkpoint, device)
    found = difference(bridge)
    if found > allowed and repair_rotation(bridge, hf_model.config.model_type):
        found = difference(bridge)
    if found > allowed:
        message = "TransformerLens computes a different residual stream from Hugging Face's"
        got, need = f"{found:.1e} of its norm apart for {architecture}", f"{allowed:.0e} at most"
        raise wrong(message, got=got, need=need, remedy=_REMEDY)
    return bridge, "TransformerBridge"


def has_hooked_transformer() -> bool:
    """Return whether the installed TransformerLens has HookedTransformer, which 4.0 removed."""
    return importlib.util.find_spec("transformer_lens.HookedTransformer") is not None


def build_hooked_transformer(hf_model: PreTrainedModel, device: torch.device, n_devices: int = 1) -> Any | None:
    """Build a HookedTransformer from `hf_model` without weight processing; None where TransformerLens does not know it.

    The configuration goes through a folder with a neutral name, because TransformerLens 3.9 guesses architectures from substrings
    of the path ("llama", "gemma", "bert").
    """
    if not has_hooked_transformer():
        return None
    from transformer_lens import HookedTransformer
    from transformer_lens.loading_from_pretrained import get_pretrained_model_config, get_pretrained_state_dict

    with tempfile.TemporaryDirectory(prefix="cfg-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # where it is gone, the bridge replaces it
        config = copy.deepcopy(hf_model.config)  # with two fields that it reads and newer checkpoints may leave out
        config.architectures = [type(hf_model).__name__]
        if not hasattr(config, "n_ctx") and hasattr(config, "max_position_embeddings"):
            config.n_ctx = config.max_position_embeddings
        config.save_pretrained(folder)
        try:
            cfg = get_pretrained_model_config(folder, device=str(device), n_devices=n_devices, dtype=hf_model.dtype)
            state = get_pretrained_state_dict(folder, cfg, hf_model=hf_model, dtype=hf_model.dtype)
        except (NotImplementedError, ValueError, KeyError, AttributeError, TypeError, AssertionError):
            return None  # an architecture, or a variant, that it does not know
        cfg.tokenizer_name = None  # texts are tokenized once, outside
        cfg.model_name = hf_model.config._name_or_path
        model = HookedTransformer(cfg, move_to_device=False)
        model.load_and_process_state_dict(
            state, fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False
        )
        model.move_model_modules_to_device()
    return model.eval()


def _build_bridge(checkpoint: Checkpoint, device: torch.device) -> Any:
    """Put TransformerLens hooks around the modules of the checkpoint's model, and return the bridge."""
    from transformer_lens.model_bridge import TransformerBridge

    name, hf_model = checkpoint.id, checkpoint.hf_model
    options = {"tokenizer": checkpoint.tokenizer, "dtype": hf_model.dtype, "device": str(device)}
    try:
        return TransformerBridge.boot_transformers(name, hf_model=hf_model.to(device), **options).eval()
    except (NotImplementedError, ValueError, KeyError) as cause:
        message, got = "TransformerLens does not know the architecture", type(hf_model).__name__
        raise ModelError(message, label=name, got=got, remedy=_REMEDY) from cause
