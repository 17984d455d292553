"""Mapping of `blocks.<i>.hook_resid_post` to vLLM: the place of decoder layer i, and how its output becomes the stream.

vLLM's decoder layers do not agree on what they return. Most defer the last addition to the next layer's fused norm and return
a pair (what the MLP adds, the stream before it); the **sum** is resid_post. Some return a pair in which the **first** part
already is resid_post; summing then gives a relative error of 0.5 to 1.0 without an error message. Others return a plain
**tensor**, or a pair with a second part that can be None (**sum-if-not-none**). `TABLE` has the convention of each layer
class, from the source of vLLM 0.32. Callers must refuse a class that is missing from it.

This module does not import vLLM.
"""

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from amygdala_tl.errors import ModelError

Convention = Literal["sum", "first", "tensor", "sum-if-not-none"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

CONTAINERS = (
    "model.layers",  # Llama, Qwen, Mistral, Gemma, DeepSeek, Phi 3, ...; GPT-NeoX and others on the Transformers backend
    "language_model.model.layers",  # multimodal models around one of the former
    "model.language_model.layers",
    "model.language_model.model.layers",
    "model.decoder.layers",  # OPT
    "transformer.h",  # GPT-2, GPT-J, Falcon, Bloom
    "model.h",
    "gpt_neox.layers",
    "transformer.blocks",  # DBRX
    "transformer.encoder.layers",  # ChatGLM
    "backbone.layers",  # Mamba
)
"""Paths of the decoder layers in the model that vLLM's runner holds."""

_SUM = """
    afmoe.AfmoeDecoderLayer apertus.ApertusDecoderLayer deepseek_v2.DeepseekV2DecoderLayer ernie45_moe.Ernie4_5_MoeDecoderLayer
    exaone.ExaoneDecoderLayer exaone_moe.ExaoneMoeDecoderLayer gemma.GemmaDecoderLayer gemma2.Gemma2DecoderLayer
    gemma3.Gemma3DecoderLayer glm4.Glm4DecoderLayer glm4_moe.Glm4MoeDecoderLayer glm4_moe_lite.Glm4MoeLiteDecoderLayer
    gpt_oss.TransformerBlock internlm2.InternLMDecoderLayer jamba.JambaAttentionDecoderLayer jamba.JambaMambaDecoderLayer
    lfm2.Lfm2AttentionDecoderLayer lfm2.Lfm2ShortConvDecoderLayer lfm2_moe.Lfm2MoeAttentionDecoderLayer
    lfm2_moe.Lfm2MoeShortConvDecoderLayer llama.LlamaDecoderLayer llama4.Llama4DecoderLayer mamba.MambaDecoderLayer
    mamba2.Mamba2DecoderLayer minimax_m2.MiniMaxM2DecoderLayer mistral.MistralDecoderLayer mixtral.MixtralDecoderLayer
    molmo.MolmoDecoderLayer molmo2.Molmo2DecoderLayer nemotron.NemotronDecoderLayer nemotron_h.NemotronHMLPDecoderLayer
    nemotron_h.NemotronHMoEDecoderLayer nemotron_h.NemotronHMambaDecoderLayer nemotron_h.NemotronHAttentionDecoderLayer
    nemotron_nas.DeciLMDecoderLayer olmoe.OlmoeDecoderLayer openpangu.OpenPanguDecoderLayer plamo3.Plamo3DecoderLayer
    qwen2.Qwen2DecoderLayer qwen2_moe.Qwen2MoeDecoderLayer qwen3.Qwen3DecoderLayer qwen3_moe.Qwen3MoeDecoderLayer
    qwen3_next.Qwen3NextDecoderLayer solar.SolarDecoderLayer step1.StepDecoderLayer
"""
_FIRST = """
    cohere2_moe.Cohere2MoeDecoderLayer commandr.CohereDecoderLayer exaone4.Exaone4DecoderLayer
    granitemoehybrid.GraniteMoeHybridAttentionDecoderLayer granitemoehybrid.GraniteMoeHybridMambaDecoderLayer
    hyperclovax.HyperCLOVAXDecoderLayer muse_glimmer.MuseGlimmerDecoderLayer phimoe.PhiMoEDecoderLayer
    stablelm.StablelmDecoderLayer
"""
_TENSOR = """
    bloom.BloomBlock chatglm.GLMBlock dbrx.DbrxBlock falcon.FalconDecoderLayer falcon_h1.FalconH1ParallelHybrid gpt2.GPT2Block
    gpt_j.GPTJBlock granite.GraniteDecoderLayer granitemoe.GraniteMoeDecoderLayer granitemoeshared.GraniteMoeSharedDecoderLayer
    olmo_hybrid.OlmoHybridDecoderLayer opt.OPTDecoderLayer orion.OrionDecoderLayer step3p5.Step3p5DecoderLayer
"""
_SUM_IF_NOT_NONE = """
    gemma4.Gemma4DecoderLayer minicpm.MiniCPMDecoderLayer molmo.MolmoDecoderNormAfterLayer molmo2.Molmo2DecoderNormAfterLayer
"""

_TABLES = tuple(zip(CONVENTIONS, (_SUM, _FIRST, _TENSOR, _SUM_IF_NOT_NONE), strict=True))
TABLE: dict[str, Convention] = {name: convention for convention, names in _TABLES for name in names.split()}
"""`<module>.<class>` of a decoder layer -> convention, for vLLM 0.32. A plugin may add its own classes."""


def layer_of_hook(name: str) -> int:
    """Return the index of the decoder layer that produces the stream of hook `name`.

    Raises:
        ModelError: `name` is not a hook of resid_post.
    """
    match = re.fullmatch(r"blocks\.(\d+)\.hook_resid_post", name)
    if match is None:
        need, remedy = "blocks.<layer>.hook_resid_post", "export a readout of resid_post"
        raise ModelError("vLLM has no such stream", got=name, need=need, remedy=remedy)
    return int(match[1])


def find_layers(model: nn.Module, n_layers: int) -> tuple[str, Sequence[nn.Module]]:
    """Find the decoder layers of the model of vLLM's runner, and their path.

    Raises:
        ModelError: none of the known paths holds `n_layers` layers.
    """
    for path in CONTAINERS:
        try:
            layers = attrgetter(path)(model)
        except AttributeError:
            continue
        if isinstance(layers, nn.ModuleList) and len(layers) == n_layers:
            return path, list(layers)
    message, kind = "the decoder layers are not at a known place in the model", type(model).__name__
    need, remedy = (
        f"{n_layers} layers at one of {', '.join(CONTAINERS)}",
        "serve a model that `amygdala-tl verify` passes",
    )
    raise ModelError(message, label=kind, need=need, remedy=remedy)


def layer_class(kind: type) -> str:
    """Return `<module>.<class>` of the class that defines the `forward` of `kind`."""
    owner = next(base for base in kind.__mro__ if "forward" in vars(base))
    return f"{owner.__module__.rsplit('.', 1)[-1]}.{owner.__name__}"


def convention_of(kind: type) -> Convention | None:
    """Return how the output of a decoder layer of class `kind` becomes resid_post; None for an unknown class.

    Layers of the Transformers backend are Hugging Face's own and return the stream.
    """
    owner = next(base for base in kind.__mro__ if "forward" in vars(base))
    if owner.__module__.startswith("transformers."):
        return "tensor"
    return TABLE.get(layer_class(kind))


def required_convention(layer: nn.Module) -> Convention:
    """Return the convention of a decoder layer.

    Raises:
        ModelError: its class is unknown.
    """
    convention = convention_of(type(layer))
    if convention is None:
        message, kind = "the decoder layer is not in the table of conventions", layer_class(type(layer))
        remedy = "run `amygdala-tl verify`, which names the convention that fits, and add it to the table"
        raise ModelError(message, label=kind, remedy=remedy)
    return convention


def split_output(output: Any) -> tuple[Tensor, Tensor | None]:
    """Return the one or two tensors of a layer's output as [token, d_model]; the Transformers backend has a batch axis of 1.

    Raises:
        ModelError: the output is anything else.
    """
    parts = output if isinstance(output, tuple | list) else (output,)
    if not parts or not all(part is None or isinstance(part, Tensor) for part in parts[:2]) or parts[0] is None:
        raise ModelError("a decoder layer returned no tensor", got=type(output).__name__, remedy="serve another model")
    hidden, residual = parts[0], parts[1] if len(parts) > 1 else None
    return hidden.reshape(-1, hidden.shape[-1]), None if residual is None else residual.reshape(-1, residual.shape[-1])


def stream(hidden: Tensor, residual: Tensor | None, convention: Convention) -> Tensor | None:
    """Return resid_post in float32 from the parts that `split_output` gives, or None if `convention` does not fit them."""
    if convention == "first" or (residual is None and convention in ("tensor", "sum-if-not-none")):
        return hidden.to(torch.float32)
    if residual is None or convention == "tensor":
        return None
    return hidden.to(torch.float32) + residual.to(torch.float32)
