"""The two TransformerLens engines, and the choice between them.

`TransformerBridge` hooks the Hugging Face model itself; `HookedTransformer` re-implements the architectures that it knows, with
weights of its own, and is gone from TransformerLens 4. Both re-implement something (the bridge: norms and attention). They can be
silently wrong for a variant that they take for a known architecture, so `choose_engine` compares their residual stream with
Hugging Face's.
"""

import copy
import importlib.util
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.agreement import Reference
from amygdala_tl.lens.bridge_repairs import repair_rotation
from amygdala_tl.lens.devices import is_split, split
from amygdala_tl.lens.hugging_face import context_of
from amygdala_tl.lens.plain_blocks import PlainBlocks, fused_attention, plain_copy
from amygdala_tl.lens.third_party import library_errors, offline

Engine = Literal["HookedTransformer", "TransformerBridge"]
_REMEDY = "update transformer-lens, or choose another model"


@dataclass(frozen=True, slots=True)
class Built:
    """A model on an engine.

    Attributes:
        model: `HookedTransformer` or `TransformerBridge`.
        engine: its name.
        plain: the Hugging Face layers behind the bridge's; None where they differ, and for HookedTransformer.
    """

    model: Any
    engine: Engine
    plain: PlainBlocks | None = None


def choose_engine(
    hf_model: PreTrainedModel,
    reference: Reference,
    devices: Sequence[torch.device],
    *,
    engine: Literal["auto"] | Engine = "auto",
) -> Built:
    """Build the engine that computes the residual stream of the reference, unprocessed and in evaluation mode.

    `auto` takes the bridge, which is the faster one and shares the weights of `hf_model`; HookedTransformer where the bridge
    disagrees with the reference.

    Args:
        hf_model: with the weights to run. The bridge puts its own modules into it.
        reference: what the checkpoint's model computes, `hf_model` or the multimodal one that it comes from.
        devices: to split the layers over. The bridge leaves a model where it is that accelerate has split already.
        engine: as in `load_model`.

    Raises:
        ModelError: no engine knows the architecture or agrees with the reference.
    """
    other: Engine | None = None
    if engine == "auto":
        engine, other = "TransformerBridge", "HookedTransformer" if has_hooked_transformer() else None
    if engine == "TransformerBridge" and not is_split(hf_model):
        _move(hf_model, devices)
    plain = plain_copy(hf_model)  # the bridge changes `hf_model`
    try:
        return _build(engine, hf_model, plain, reference, devices)
    except ModelError as cause:
        if other is None:
            raise
        try:
            built = _build(other, plain, plain, reference, devices)
        except ModelError:
            raise cause from None
        warnings.warn(f"{cause}; using {other}", stacklevel=3)
        return built


def _build(
    engine: Engine,
    hf_model: PreTrainedModel,
    plain: PreTrainedModel,
    reference: Reference,
    devices: Sequence[torch.device],
) -> Built:
    """Build one engine, or raise a `ModelError` that says why it cannot run the model."""
    if engine == "HookedTransformer":
        hooked = build_hooked_transformer(hf_model, devices[0], len(devices))
        if hooked is None:
            got = type(hf_model).__name__ if has_hooked_transformer() else "TransformerLens without it"
            remedy = "leave the engine to `auto`"
            raise ModelError("HookedTransformer cannot run this model", label=reference.label, got=got, remedy=remedy)
        _check(engine, reference, reference.difference(hooked))
        return Built(hooked, engine)
    bridge = _build_bridge(hf_model, devices[0], reference.label)
    found = reference.difference(bridge)
    if found > reference.allowed and repair_rotation(bridge, hf_model.config.model_type):
        found = reference.difference(bridge)
    _check(engine, reference, found)
    return Built(bridge, engine, _plain_blocks(bridge, plain, reference))


def _move(hf_model: PreTrainedModel, devices: Sequence[torch.device]) -> None:
    if len(devices) > 1:
        split(hf_model, devices)
    else:
        hf_model.to(devices[0])


def _check(engine: Engine, reference: Reference, found: float) -> None:
    if found > reference.allowed:
        got, need = f"{found:.1e} of its norm apart on {engine}", f"{reference.allowed:.0e} at most"
        message = "TransformerLens computes a different residual stream from Hugging Face's"
        raise ModelError(message, label=reference.label, got=got, need=need, remedy=_REMEDY)


def _plain_blocks(bridge: Any, plain: PreTrainedModel, reference: Reference) -> PlainBlocks | None:
    """Put the plain layers behind the bridge's, if that changes nothing."""
    plain.set_attn_implementation(fused_attention(plain))
    blocks = PlainBlocks(bridge, plain)
    try:
        if reference.difference(bridge) <= reference.allowed:
            return blocks
    except ModelError:
        pass  # layers of this architecture take arguments that the bridge does not pass
    blocks.remove()
    return None


def has_hooked_transformer() -> bool:
    """Return whether the installed TransformerLens has HookedTransformer, which 4.0 removed."""
    return importlib.util.find_spec("transformer_lens.HookedTransformer") is not None


class _NeutralPath(str):
    """A path in which TransformerLens finds no architecture: 3.9 searches it for "llama", "gemma", "1b", in lower case."""

    __slots__ = ()

    def lower(self) -> str:
        return "checkpoint"


def build_hooked_transformer(hf_model: PreTrainedModel, device: torch.device, n_devices: int = 1) -> Any | None:
    """Build a HookedTransformer from `hf_model` without weight processing; None where TransformerLens does not know it.

    TransformerLens reads the configuration from a folder.
    """
    if not has_hooked_transformer():
        return None
    with warnings.catch_warnings(), offline():
        warnings.simplefilter("ignore", DeprecationWarning)  # where it is gone, the bridge replaces it
        try:
            with tempfile.TemporaryDirectory() as folder:
                return _hooked_transformer(hf_model, _NeutralPath(folder), device, n_devices).eval()
        except Exception:  # raised in many forms for an architecture, or a variant, that it does not know
            return None


def _hooked_transformer(hf_model: PreTrainedModel, folder: str, device: torch.device, n_devices: int) -> Any:
    from transformer_lens import HookedTransformer
    from transformer_lens.loading_from_pretrained import get_pretrained_model_config, get_pretrained_state_dict

    config = copy.deepcopy(hf_model.config)  # with two fields that it reads and newer checkpoints may leave out
    config.architectures = [type(hf_model).__name__]
    if not hasattr(config, "n_ctx") and hasattr(config, "max_position_embeddings"):
        config.n_ctx = config.max_position_embeddings
    config.save_pretrained(folder)
    cfg = get_pretrained_model_config(folder, device=str(device), n_devices=n_devices, dtype=hf_model.dtype)
    state = get_pretrained_state_dict(folder, cfg, hf_model=hf_model, dtype=hf_model.dtype)
    cfg.tokenizer_name = None  # texts are tokenized once, outside
    cfg.model_name = hf_model.config._name_or_path
    cfg.n_ctx = _context(cfg, hf_model)
    model = HookedTransformer(cfg, move_to_device=False)
    # TransformerLens's `load_and_process_state_dict` copies every tensor, and walks the whole model for each of them. These are
    # views of the Hugging Face model's own tensors, so that the weights are in memory once. Tied ones are copied, because
    # HookedTransformer processes weights in place, each by itself.
    own, filled = model.state_dict(), model.fill_missing_keys(state)
    shared: dict[str, torch.Tensor] = {}
    places: set[int] = set()
    for name, tensor in own.items():
        value = filled[name].detach().to(tensor.dtype)
        shared[name] = value.clone() if (place := value.data_ptr()) in places else value
        places.add(place)
    model.load_state_dict(shared, assign=True)
    model.move_model_modules_to_device()
    return model


def _context(cfg: Any, hf_model: PreTrainedModel) -> int:
    """Return the longest input of a HookedTransformer, in tokens.

    TransformerLens stops at 2,048 for some architectures, to save memory, although its rotary tables grow as needed. What only
    begins behind the golden tokens cannot be compared, so the context ends where it would begin: at a sliding window that
    TransformerLens does not apply, or at the length behind which longrope changes its factors.
    """
    if cfg.positional_embedding_type != "rotary":
        return int(cfg.n_ctx)
    config = hf_model.config.get_text_config()
    ends = [context_of(hf_model)]
    window = getattr(config, "sliding_window", None)
    if window and not (cfg.use_local_attn and cfg.window_size == window):
        ends.append(window)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        ends.append(rope.get("original_max_position_embeddings") or ends[0])
    return int(min(ends))


def _build_bridge(hf_model: PreTrainedModel, device: torch.device, label: str) -> Any:
    """Put TransformerLens hooks around the modules of `hf_model`, and return the bridge.

    `TransformerBridge.boot_transformers` would look up the model's name on a hub, for a processor of images or a tokenizer that
    adds BOS, and install torchvision with pip. This function hands on no name.
    """
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    architecture, config = type(hf_model).__name__, copy.deepcopy(hf_model.config)
    with offline(), library_errors(f"TransformerLens cannot run {architecture}", label, _REMEDY):
        bridge = build_bridge_from_module(hf_model, architecture, hf_config=config, device=device).eval()
    bridge.cfg.n_devices = len(set(getattr(hf_model, "hf_device_map", {"": device}).values()))
    return bridge
