"""A model that runs with hooks, and the way to one by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from amygdala_tl.errors import InputError
from amygdala_tl.lens.agreement import reference_of
from amygdala_tl.lens.checkpoints import Checkpoint, load_checkpoint
from amygdala_tl.lens.devices import devices_of
from amygdala_tl.lens.embedded import check_weights
from amygdala_tl.lens.engines import Engine, choose_engine
from amygdala_tl.lens.fingerprint import computed_config, tokenizer_fingerprint, weights_fingerprints
from amygdala_tl.lens.hugging_face import context_of
from amygdala_tl.lens.identity import golden_numbers, versions
from amygdala_tl.lens.intact import check_finite, check_vocabulary
from amygdala_tl.lens.plain_blocks import PlainBlocks
from amygdala_tl.lens.round_trip import check_tokenizer
from amygdala_tl.lens.text_only import language_model
from amygdala_tl.records import ModelInfo

_NAMES = (("float32", "fp32"), ("bfloat16", "bf16"), ("float16", "fp16"))
_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, names[0]) for names in _NAMES for name in names}


@dataclass(frozen=True, slots=True)
class Lens:
    """A model that runs with hooks.

    Attributes:
        model: `HookedTransformer` or `TransformerBridge`.
        tokenizer: Hugging Face tokenizer; the package makes token ids with it and passes on ids only.
        info: which model it is.
        device: where it expects its tokens; its first one, if it has several.
        source: checkpoint folder, file or hub id from which the weights can be read again; None if there is none.
        plain: the Hugging Face layers behind a bridge's, see `lens.plain_blocks`; None for a model that the caller has built.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    info: ModelInfo
    device: torch.device
    source: str | None = None
    plain: PlainBlocks | None = None

    def __post_init__(self) -> None:
        check_tokenizer(self.tokenizer)

    @property
    def vocabulary(self) -> int:
        """Number of token ids that the model knows."""
        return int(self.model.W_E.shape[0])

    def __repr__(self) -> str:
        info = self.info
        return (
            f"Lens({info.id}: {info.architecture}, {info.n_layers} layers of {info.d_model}, {info.dtype} on {self.device}, "
            f"{info.engine}, weights {info.weights})"
        )


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
    """Load a model by name, with its weights as they are stored.

    Args:
        spec: `embedded` (SmolLM2-135M-Instruct), a checkpoint folder, a `.gguf` file, or a hub id.
        dtype: `auto` (float32 on a CPU, bfloat16 on CUDA), `float32`, `bfloat16` (`bf16`) or `float16` (`fp16`).
        device: for example `cpu` or `cuda:0`; CUDA if present by default.
        n_devices: split the layers over this many CUDA devices, from `device` upwards.
        engine: `auto` takes TransformerBridge where it agrees with the Hugging Face model's residual stream, else
            HookedTransformer, which must agree too.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that the checkpoint brings.

    Raises:
        ModelError: the model does not exist or cannot be read, TransformerLens does not know its architecture, or TransformerLens
            computes a different residual stream from Hugging Face's, or the tokenizer loses part of a text.
        InputError: the dtype is unknown, or a device does not exist.
    """
    devices = devices_of(device, n_devices)
    target = dtype_of(dtype, devices[0])
    checkpoint = load_checkpoint(spec, target, revision=revision, trust_remote_code=trust_remote_code)
    return lens_of(checkpoint, devices, engine=engine)


def lens_of(
    checkpoint: Checkpoint, devices: Sequence[torch.device], *, engine: Literal["auto"] | Engine = "auto"
) -> Lens:
    """Build a `Lens` around a checkpoint's model, which it takes over; arguments and errors as in `choose_engine`."""
    check_finite(checkpoint.hf_model, checkpoint.id)
    check_vocabulary(checkpoint.hf_model.get_input_embeddings().weight, checkpoint.tokenizer, checkpoint.id)
    reference = reference_of(checkpoint.hf_model, checkpoint.id)
    hf_model = language_model(checkpoint.hf_model)
    described = describe(checkpoint, hf_model)
    if checkpoint.source == "embedded" and hf_model.dtype in (torch.float32, torch.bfloat16):
        check_weights(described["fingerprint"])
    built = choose_engine(hf_model, reference, devices, engine=engine)
    model, chosen = built.model, built.engine
    if chosen == "HookedTransformer":
        described["n_ctx"] = min(described["n_ctx"], int(model.cfg.n_ctx))
    golden = golden_numbers(model, described["n_ctx"])
    info = ModelInfo(**described, engine=chosen, versions=versions(), golden=golden)
    return Lens(model, checkpoint.tokenizer, info, devices[0], checkpoint.source, built.plain)


def describe(checkpoint: Checkpoint, hf_model: PreTrainedModel) -> dict[str, Any]:
    """Return the fields of `ModelInfo` that do not depend on the engine, before one takes over the checkpoint's text model."""
    fingerprint, exact = weights_fingerprints(hf_model.state_dict(keep_vars=True).values())
    config = hf_model.config.get_text_config()
    return {
        "id": checkpoint.id,
        "revision": checkpoint.revision,
        "fingerprint": fingerprint,
        "architecture": type(hf_model).__name__,
        "dtype": str(hf_model.dtype).removeprefix("torch."),
        "n_layers": config.num_hidden_layers,
        "d_model": config.hidden_size,
        "n_ctx": context_of(hf_model),
        "exact": exact,
        "config": computed_config(hf_model.config),
        "tokenizer": tokenizer_fingerprint(checkpoint.tokenizer),
    }


def dtype_of(dtype: str, device: torch.device) -> torch.dtype:
    """Return the dtype that a name stands for; raises as `load_model`."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in _DTYPES:
        need = f"auto or one of {', '.join(_DTYPES)}"
        raise InputError("unknown dtype", got=dtype, need=need, remedy="change `dtype`")
    return _DTYPES[dtype]
