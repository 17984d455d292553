"""`verify`: is layer i of a readout layer i of Hugging Face and vLLM?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from amygdala_tl.api.models import check_fit, checkpoint_of
from amygdala_tl.errors import InputError, ModelError, ReadoutError
from amygdala_tl.lens.checkpoints import load_checkpoint, readable_source
from amygdala_tl.lens.hugging_face import layer_outputs
from amygdala_tl.lens.identity import golden_tokens, other_weights
from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.lens.parity import TOLERANCES, check_layers
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.readout.record import Readout, load_readout
from amygdala_tl.records import LayerCheck, LayerOutput, Verification, hook_name
from amygdala_tl.vllm.golden import has_vllm, vllm_layers
from amygdala_tl.vllm.mapping import layer_of_hook

VerifyEngine = Literal["auto", "vllm", "hf"]


def verify(
    readout: Readout | str | Path,
    lens: Lens | None = None,
    *,
    engine: VerifyEngine = "auto",
    model: str | None = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
) -> Verification:
    """Run fixed token ids through the engines, and compare the residual stream at every layer of a readout.

    The reference is TransformerLens at each layer's hook: the stream that the layer's vectors are of. Hugging Face and vLLM run
    the stored checkpoint. Where the reference's weights are centred, both streams are compared without their mean.

    Args:
        readout: from `train` or `load_readout`, or the path of a bundle.
        lens: the reference; `model` is loaded if None.
        engine: `vllm` or `hf` alone, or `auto` for both, if vLLM is installed.
        model: name of the checkpoint; by default the one that `lens` was loaded from, or the name in the provenance.
        dtype: of all engines; that of `lens` if one is given.
        trust_remote_code: run code that the checkpoint brings.

    Returns:
        One check per engine and layer. Without a checkpoint to compare with there are none, and it has not passed.

    Raises:
        ReadoutError: the bundle is damaged or of another model, or it names no model and neither do `lens` and `model`.
        ModelError: the model cannot be loaded, by TransformerLens or by vLLM.
        InputError: `engine` is vLLM, which is not installed.
    """
    if engine == "vllm" and not has_vllm():
        raise InputError("vLLM is not installed", got="vllm", remedy="run `pip install vllm`, or compare with `hf`")
    readout = readout if isinstance(readout, Readout) else load_readout(readout)
    name, revision = model, None
    if name is None:
        name, revision = checkpoint_of(readout) if lens is None else (lens.source, lens.info.revision)
    source: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    if lens is None:
        assert name is not None
        lens = load_model(name, dtype, **source)
    check_fit(readout, lens)
    references, tokens = _references(readout, lens)
    info = lens.info
    del lens  # one model at a time, unless the caller holds it
    notes = [] if name else ["nothing was compared: no stored checkpoint of this model is known; name it as `model`"]
    try:
        _ = readout.writing
    except ReadoutError as cause:
        notes.append(f"cannot steer: {cause}")
    outputs: dict[str, Sequence[LayerOutput]] = {}
    if name and engine != "vllm":
        try:
            checkpoint = load_checkpoint(name, getattr(torch, info.dtype), **source)
            outputs["Hugging Face"] = layer_outputs(checkpoint.hf_model, tokens)
            del checkpoint
        except ModelError as cause:
            if model is not None:
                raise
            notes.append(f"not compared with Hugging Face: {cause}")
    if why := _not_in_vllm(engine, name):
        notes.append(why)
    elif name:
        outputs["vLLM"] = vllm_layers(readable_source(name), tokens[0].tolist(), info.dtype, **source)
    tolerance, centred = TOLERANCES[info.dtype], info.weights == "centred"
    checks: list[LayerCheck] = []
    for of, found in outputs.items():
        checks += check_layers(references, found, engine=of, tolerance=tolerance, without_mean=centred)
        notes += [finding] if (finding := other_weights(info, found, of)) else []
    return Verification(
        model=name or info.id, dtype=info.dtype, n_tokens=tokens.shape[1], tolerance=tolerance,
        checks=tuple(checks), notes=tuple(notes),
    )  # fmt: skip


def _references(readout: Readout, lens: Lens) -> tuple[dict[int, Tensor], Tensor]:
    """Return the stream of each of the readout's layers for the golden tokens, and the tokens."""
    hooks = readout.provenance.hooks
    layers = {layer: layer_of_hook(hooks.get(str(layer), hook_name(layer))) for layer in readout.layers}
    if beyond := [layer for layer in layers.values() if layer >= lens.info.n_layers]:
        raise ReadoutError(
            "the readout names a hook that the model does not have", got=hook_name(beyond[0]),
            need=f"a layer below {lens.info.n_layers}", remedy="export the readout again",
        )  # fmt: skip
    tokens = golden_tokens(lens.model.W_E.shape[0], lens.info.n_ctx)
    wanted = sorted(set(layers.values()))
    streams = run_resid_post(lens.model, tokens, wanted)[0].float().cpu()
    return {layer: streams[:, wanted.index(hooked)] for layer, hooked in layers.items()}, tokens


def _not_in_vllm(engine: VerifyEngine, name: str | None) -> str | None:
    """Return why the layers are not compared with vLLM's; None if they are, or if there is nothing to compare."""
    if engine == "hf":
        return "not compared with vLLM: only `hf` was chosen"
    if engine == "auto" and not has_vllm():
        return "not compared with vLLM: it is not installed"
    if engine == "auto" and name is not None and name.endswith(".gguf"):
        return "not compared with vLLM: it reads no .gguf file"
    return None
