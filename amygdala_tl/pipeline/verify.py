"""Golden activations: the layers of a bundle, as TransformerLens reads them, against Hugging Face's and vLLM's."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from amygdala_tl.api.models import lens_of
from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.lens.checkpoints import load_checkpoint
from amygdala_tl.lens.embedded import embedded_checkpoint
from amygdala_tl.lens.hugging_face import run_decoder_layers
from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.readout.bundle import load_readout
from amygdala_tl.readout.provenance import Provenance
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import LayerCheck, Verification, hook_name
from amygdala_tl.vllm.compare import TOLERANCES, LayerOutput, check_layers
from amygdala_tl.vllm.golden import golden_ids, has_vllm, vllm_layers
from amygdala_tl.vllm.mapping import layer_of_hook

VerifyEngine = Literal["auto", "vllm", "hf"]


def verify(
    readout_path: str | Path,
    *,
    engine: VerifyEngine = "auto",
    model: str | None = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
) -> Verification:
    """Run fixed token ids through the engines, and compare the residual stream at every layer of a bundle.

    The reference is TransformerLens at the hook that the bundle names for a layer: the stream that the layer's vectors are of.

    Args:
        readout_path: the bundle's `.safetensors` file.
        engine: `vllm` or `hf` alone, or `auto` for both, where vLLM is installed.
        model: what names the model, where the manifest's name does not lead to it.
        dtype: that all engines compute in.
        trust_remote_code: run code that the checkpoint brings.

    Raises:
        ReadoutError: the bundle is damaged, or of another model.
        ModelError: the model cannot be loaded, by TransformerLens or by vLLM.
        InputError: vLLM is asked for and is not installed.
    """
    if engine == "vllm" and not has_vllm():
        raise InputError("vLLM is not installed here", got="--engine vllm", remedy="install it, or use --engine hf")
    readout = load_readout(readout_path)
    said = readout.provenance
    spec, revision = _spec(said, model)
    hooks = {layer: layer_of_hook(said.hooks.get(str(layer), hook_name(layer))) for layer in readout.layers}
    loaded = load_model(spec, dtype, revision=revision, trust_remote_code=trust_remote_code)
    lens_of(readout, loaded)
    if beyond := [layer for layer in hooks.values() if layer >= loaded.info.n_layers]:
        raise ReadoutError(
            "the bundle names a hook that the model does not have", got=hook_name(beyond[0]),
            need=f"a layer below {loaded.info.n_layers}", remedy="export the readout again",
        )  # fmt: skip
    references, ids = _references(loaded, readout, hooks)
    name = loaded.info.dtype
    tolerance = TOLERANCES[name]
    checks: list[LayerCheck] = []
    notes: list[str] = []
    del loaded  # a model at a time
    if engine in ("auto", "hf"):
        outputs = _hugging_face(spec, name, ids, revision, trust_remote_code)
        checks += check_layers(references, outputs, engine="Hugging Face", tolerance=tolerance)
    source = str(embedded_checkpoint()) if spec == "embedded" else spec
    if engine == "hf":
        notes.append("vLLM was not asked for")
    elif engine == "auto" and not has_vllm():
        notes.append("vLLM is not installed here: that its layers are these was not checked")
    elif engine == "auto" and source.endswith(".gguf"):
        notes.append("vLLM reads no .gguf file: that its layers are these was not checked")
    else:
        outputs = vllm_layers(source, ids, name, revision=revision, trust_remote_code=trust_remote_code)
        checks += check_layers(references, outputs, engine="vLLM", tolerance=tolerance)
    return Verification(
        model=spec, dtype=name, n_tokens=len(ids), tolerance=tolerance, checks=tuple(checks), notes=tuple(notes)
    )


def _spec(said: Provenance, model: str | None) -> tuple[str, str | None]:
    if model is not None:
        return model, None
    if said.model is None:
        raise ReadoutError("the bundle names no model", remedy="give --model")
    return said.model.id, said.model.revision


def _references(loaded: Lens, readout: Readout, hooks: dict[int, int]) -> tuple[dict[int, Tensor], list[int]]:
    ids = golden_ids(len(loaded.tokenizer))
    wanted = sorted(set(hooks.values()))
    streams = run_resid_post(loaded.model, torch.tensor([ids]), wanted)[0].float().cpu()
    return {layer: streams[:, wanted.index(hooks[layer])] for layer in readout.layers}, ids


def _hugging_face(
    spec: str, dtype: str, ids: list[int], revision: str | None, trust_remote_code: bool
) -> list[LayerOutput]:
    checkpoint = load_checkpoint(spec, getattr(torch, dtype), revision=revision, trust_remote_code=trust_remote_code)
    outputs = run_decoder_layers(checkpoint.hf_model, torch.tensor([ids]))
    return [
        LayerOutput(output[0].float().cpu(), None, type(checkpoint.hf_model).__name__, "tensor") for output in outputs
    ]
