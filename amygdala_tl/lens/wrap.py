"""A `Lens` around a model that the caller has loaded.

TransformerLens processes weights when it loads a model by name. Folded norms and value biases leave resid_post as it is. Centred
writing weights remove its mean over d_model: the stream becomes h' = P h with P = I - 11^T / d_model. `wrap` reads from the
weights which of these holds, and `exported` turns a direction fitted on h' into one that gives the same scores on h.

Source: TransformerLens, `ProcessWeights.center_writing_weights`, which it applies to LayerNorm models only.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.agreement import causal_streams
from amygdala_tl.lens.checkpoints import Checkpoint, short_name
from amygdala_tl.lens.devices import check_loaded
from amygdala_tl.lens.engines import Engine
from amygdala_tl.lens.fingerprint import RENAMED, computed_config, tokenizer_fingerprint, weights_fingerprints
from amygdala_tl.lens.identity import golden_layers, golden_numbers, golden_tokens, versions
from amygdala_tl.lens.intact import check_finite, check_vocabulary
from amygdala_tl.lens.model import Lens, lens_of
from amygdala_tl.lens.parity import TOLERANCES, mean_removed
from amygdala_tl.lens.plain_blocks import plain_copy
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.lens.third_party import library_errors, offline
from amygdala_tl.records import ModelInfo

_CENTRED = 0.02
"""Part of the weights along the ones vector, in units of what random weights have (1): 1e-3 after rounding to bfloat16."""


def wrap(model: Any, tokenizer: PreTrainedTokenizerBase | None = None) -> Lens:
    """Wrap a loaded model, and find out from its weights what TransformerLens did to them.

    The model stays as it is: mode, hooks, device and gradients. A Hugging Face model runs through the engine that `load_model`
    would choose, which shares its weights.

    Args:
        model: HookedTransformer, TransformerBridge, or a Hugging Face decoder model.
        tokenizer: the model's own by default. TransformerLens's loaders make tokenizers prepend BOS; `wrap` undoes that by
            reading the tokenizer's files again, because a server adds no such token.

    Raises:
        ModelError: the model is of another kind, has no tokenizer, is in training mode with dropout, or does not run; or the
            tokenizer loses part of a text.
    """
    if isinstance(model, PreTrainedModel):
        return _wrap_hugging_face(model, tokenizer)
    if not (hasattr(model, "blocks") and hasattr(model, "run_with_cache") and hasattr(model, "cfg")):
        got, need = type(model).__name__, "HookedTransformer, TransformerBridge or a Hugging Face decoder model"
        raise ModelError("the model is of an unknown kind", got=got, need=need, remedy="pass one of these")
    cfg, first = model.cfg, next(model.parameters())
    check_finite(model, type(model).__name__)
    original = getattr(model, "original_model", None)  # the bridge's
    engine: Engine = "HookedTransformer" if original is None else "TransformerBridge"
    config = getattr(original, "config", None)
    named = getattr(config, "_name_or_path", None) or None
    if engine == "HookedTransformer":  # its configuration names a folder or a hub id
        named = cfg.model_name if cfg.model_name and Path(cfg.model_name).exists() else cfg.tokenizer_name or None
    tokenizer = tokenizer or _own_tokenizer(model)
    fingerprint, exact = weights_fingerprints(model.parameters())
    golden = _settled_numbers(model, int(cfg.n_ctx))
    # Neither name is there for a model that its user has made from a configuration.
    called = (getattr(cfg, name, None) for name in ("original_architecture", "architecture"))
    check_vocabulary(model.W_E, tokenizer, type(model).__name__)
    info = ModelInfo(
        id=short_name(named or cfg.model_name or type(model).__name__),
        revision=getattr(config, "_commit_hash", None),
        fingerprint=RENAMED + fingerprint,
        architecture=next(filter(None, called), type(model if original is None else original).__name__),
        engine=engine,
        versions=versions(),
        dtype=str(first.dtype).removeprefix("torch."),
        n_layers=len(model.blocks),
        d_model=int(cfg.d_model),
        n_ctx=int(cfg.n_ctx),
        weights="centred" if _is_centred(model) else "as stored",
        golden=golden,
        exact=exact,
        config=computed_config(config) if config is not None else _plain_config(cfg),
        tokenizer=tokenizer_fingerprint(tokenizer),
    )
    return Lens(model, tokenizer, info, first.device, named)


def exported(vectors: Float[Tensor, "*axes d_model"], info: ModelInfo) -> Float[Tensor, "*axes d_model"]:
    """Return unit vectors with the same scores on the stream of `info`'s model and on that of its stored checkpoint.

    The same vectors for weights as stored. For centred weights P v / |P v|: on the checkpoint's stream h,
    (P h) . v = h . (P v). Calibrate with what this returns, and every number holds for both streams.

    Args:
        vectors: directions, unit length.
        info: of the model whose activations they are fitted on.
    """
    if info.weights == "as stored":
        return vectors
    centred: Tensor = mean_removed(vectors)
    unit: Tensor = centred / centred.norm(dim=-1, keepdim=True)
    return unit


def reads_mean(vectors: Float[Tensor, "*axes d_model"]) -> bool:
    """Return whether a direction answers to the stream's mean over d_model, which centred weights have removed.

    Such a readout cannot be read through a centred model: its scores would differ by that mean.
    """
    unit = vectors.float() / vectors.float().norm(dim=-1, keepdim=True)
    return bool(unit.sum(dim=-1).abs().max() > 1e-3 * vectors.shape[-1] ** 0.5)


def _wrap_hugging_face(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> Lens:
    if tokenizer is None:
        raise _no_tokenizer(model)
    check_loaded(model, type(model).__name__)
    twin = plain_copy(model)
    twin.set_attn_implementation("eager")  # hooks need it, and SDPA leaves out Gemma 2's soft-capping
    source = model.config._name_or_path or None
    name, revision = short_name(source or type(model).__name__), getattr(model.config, "_commit_hash", None)
    devices = list(dict.fromkeys(weight.device for weight in model.parameters()))
    return lens_of(Checkpoint(name, revision, twin, tokenizer, source), devices)


def _own_tokenizer(model: Any) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a TransformerLens model as its files define it."""
    tokenizer: PreTrainedTokenizerBase | None = getattr(model, "tokenizer", None)
    if tokenizer is None:
        raise _no_tokenizer(model)
    if not (added := tokenizer("").input_ids):
        return tokenizer
    try:  # its files are here, or in the cache, from when it was loaded
        with offline():
            own: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    except Exception as cause:
        message = "the tokenizer adds tokens to every text, and its files are not here to tell whether TransformerLens did that"
        raise _no_tokenizer(model, message, got=repr(tokenizer.decode(added))) from cause
    return tokenizer if own("").input_ids == added else own


def _no_tokenizer(model: Any, message: str = "the model has no tokenizer", **facts: str) -> ModelError:
    return ModelError(message, label=type(model).__name__, remedy="pass `tokenizer`", **facts)


def _plain_config(cfg: Any) -> Mapping[str, Any]:
    """Return the fields of TransformerLens's own configuration that are plain values, without names, places and seeds."""
    unrelated = {"model_name", "tokenizer_name", "device", "n_devices", "seed", "checkpoint_index", "checkpoint_value"}
    said = {name: value for name, value in vars(cfg).items() if name not in unrelated}
    return {name: value for name, value in said.items() if value is None or isinstance(value, (bool, int, float, str))}


def _settled_numbers(model: Any, n_ctx: int) -> str:
    """Return the golden numbers of a causal model, which two runs must agree on if it is in training mode."""
    label, layers = type(model).__name__, golden_layers(len(model.blocks))
    with library_errors("the model does not run on token ids", label, "pass another model"):
        numbers = golden_numbers(model, n_ctx)
        settled = not model.training or golden_numbers(model, n_ctx) == numbers
    if not settled:
        message = "the model is in training mode, and dropout changes its stream from run to run"
        raise ModelError(message, label=label, remedy="call `model.eval()` first")

    def run(tokens: Tensor) -> dict[int, Tensor]:
        return dict(zip(layers, run_resid_post(model, tokens, layers).unbind(dim=2), strict=True))

    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    causal_streams(run, golden_tokens(model.W_E.shape[0], n_ctx), TOLERANCES.get(dtype, TOLERANCES["bfloat16"]), label)
    return numbers


def _is_centred(model: Any) -> bool:
    """Return whether any kind of weight that writes to the stream lacks its mean over d_model.

    One kind is enough. A stream without a part of its mean still has the P h of the checkpoint, which is what `exported` needs.
    """
    return any(_part_along_ones(weight) < _CENTRED for weight in _writing_weights(model))


def _writing_weights(model: Any) -> Iterator[Tensor]:
    """Yield W_E, then W_O and W_out of every layer that has them, each [..., d_model]."""
    places = [(model, "W_E")]
    for block in model.blocks:
        places += [(getattr(block, "attn", None), "W_O"), (getattr(block, "mlp", None), "W_out")]
    for owner, name in places:
        try:
            weight = getattr(owner, name)
        except (AttributeError, ValueError, RuntimeError, NotImplementedError):
            continue  # an architecture that keeps it elsewhere
        if isinstance(weight, Tensor) and weight.is_floating_point() and weight.shape[-1] == model.cfg.d_model:
            yield weight.detach()


def _part_along_ones(weight: Float[Tensor, "*rows d_model"]) -> float:
    """Return the norm of the rows' components along the ones vector, over that of random rows of the same size."""
    d_model = weight.shape[-1]
    along = weight.mean(dim=-1, dtype=torch.float32).norm() * d_model**0.5
    whole = torch.linalg.vector_norm(weight, dtype=torch.float32)
    return float(along / whole) * d_model**0.5 if whole > 0 else 1.0
