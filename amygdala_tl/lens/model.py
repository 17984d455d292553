"""`load_model`: what names a model -> a `Lens` that runs with hooks."""

import importlib.metadata
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerBase

from amygdala_tl.errors import InputError, ModelError
from amygdala_tl.lens.agreement import Streams, disagreement, hugging_face_streams, tolerance
from amygdala_tl.lens.bridge_repairs import repair_rotation
from amygdala_tl.lens.checkpoints import Checkpoint, load_checkpoint
from amygdala_tl.lens.engines import Engine, build_bridge, build_hooked_transformer, has_hooked_transformer
from amygdala_tl.lens.fingerprint import weights_fingerprint
from amygdala_tl.records import ModelInfo

_DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


@dataclass(frozen=True, slots=True)
class Lens:
    """A model that runs with hooks.

    Attributes:
        model: `HookedTransformer` or `TransformerBridge`, in evaluation mode, weights unprocessed.
        tokenizer: Hugging Face tokenizer; token ids are made with it and passed on as ids.
        info: which model it is.
        device: where it expects its tokens.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    info: ModelInfo
    device: torch.device


def load_model(
    spec: str = "embedded",
    dtype: str = "auto",
    device: str | None = None,
    *,
    n_devices: int = 1,
    engine: Literal["auto"] | Engine = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Lens:
    """Load a model for reading its residual stream.

    Args:
        spec: `embedded` (SmolLM2-135M-Instruct), a checkpoint folder, a `.gguf` file, or a hub id.
        dtype: `auto` (float32 on a CPU, bfloat16 on CUDA), `float32`, `bfloat16` (`bf16`) or `float16` (`fp16`).
        device: for example `cpu` or `cuda:0`; CUDA where present unless given.
        n_devices: split the layers over this many CUDA devices (HookedTransformer only).
        engine: `auto` takes HookedTransformer where TransformerLens has it, knows the architecture and agrees with the
            Hugging Face model's residual stream, else TransformerBridge, which must agree with it too.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that the checkpoint brings.

    Raises:
        ModelError: no such model, an unreadable checkpoint, or an architecture that TransformerLens does not know, or computes
            another residual stream for than Hugging Face.
        InputError: an unknown dtype, or a device that is not there.
    """
    target = _device(device)
    checkpoint = load_checkpoint(spec, _dtype(dtype, target), revision=revision, trust_remote_code=trust_remote_code)
    fingerprint = weights_fingerprint(checkpoint.hf_model)
    model, chosen = _build(checkpoint, target, n_devices, engine)
    config = checkpoint.hf_model.config.get_text_config()
    info = ModelInfo(
        id=checkpoint.id,
        revision=checkpoint.revision,
        fingerprint=fingerprint,
        architecture=type(checkpoint.hf_model).__name__,
        engine=chosen,
        versions={
            name: importlib.metadata.version(name)
            for name in ("amygdala-tl", "transformer-lens", "transformers", "torch")
        },
        dtype=str(checkpoint.hf_model.dtype).removeprefix("torch."),
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        n_ctx=getattr(config, "max_position_embeddings", 2048),
    )
    return Lens(model=model, tokenizer=checkpoint.tokenizer, info=info, device=target)


def _build(
    checkpoint: Checkpoint, device: torch.device, n_devices: int, engine: Literal["auto"] | Engine
) -> tuple[Any, Engine]:
    expected = hugging_face_streams(checkpoint.hf_model)
    if engine != "TransformerBridge":
        model = build_hooked_transformer(checkpoint.hf_model, device, n_devices)
        if model is not None:
            difference = disagreement(model, checkpoint.hf_model, expected)
            if difference <= tolerance(checkpoint.hf_model.dtype):
                return model, "HookedTransformer"
            warnings.warn(
                f"HookedTransformer's residual stream differs from Hugging Face's by {difference:.1e} (relative) for "
                f"{checkpoint.id}; using TransformerBridge.",
                stacklevel=3,
            )
        if engine == "HookedTransformer":
            raise ModelError(
                "HookedTransformer cannot run this model",
                label=checkpoint.id,
                got=type(checkpoint.hf_model).__name__ if has_hooked_transformer() else "TransformerLens without it",
                remedy="leave the engine to `auto`",
            )
    if n_devices > 1:
        raise ModelError(
            "TransformerBridge runs on one device here", got=f"--n-devices {n_devices}", remedy="use one device"
        )
    return _bridge(checkpoint, device, expected), "TransformerBridge"


def _bridge(checkpoint: Checkpoint, device: torch.device, expected: Streams) -> Any:
    """The model on the bridge, if it computes what the model computes."""
    bridge = build_bridge(checkpoint.hf_model, checkpoint.tokenizer, device, checkpoint.id)
    allowed = tolerance(checkpoint.hf_model.dtype)
    difference = disagreement(bridge, checkpoint.hf_model, expected)
    if difference > allowed and repair_rotation(bridge, checkpoint.hf_model.config.model_type):
        difference = disagreement(bridge, checkpoint.hf_model, expected)
    if difference > allowed:
        raise ModelError(
            "TransformerLens computes another residual stream than Hugging Face", label=checkpoint.id,
            got=f"{difference:.1e} of its norm apart for {type(checkpoint.hf_model).__name__}",
            need=f"{allowed:.0e} at most", remedy="update transformer-lens, or choose another model",
        )  # fmt: skip
    return bridge


def _device(device: str | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
        torch.empty(1, device=target)
    except (RuntimeError, AssertionError) as cause:
        raise InputError("no such device here", got=device, remedy="leave --device out, or use cpu") from cause
    return target


def _dtype(dtype: str, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in _DTYPES:
        raise InputError(
            "unknown dtype", got=dtype, need=f"auto or one of {', '.join(_DTYPES)}", remedy="change --dtype"
        )
    return _DTYPES[dtype]
