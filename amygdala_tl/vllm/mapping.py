"""`blocks.<i>.hook_resid_post` in vLLM: where decoder layer i stands in the model, and how its output becomes the stream.

vLLM's decoder layers do not agree on what they return. Most defer the last addition to the next layer's fused norm and return
(what the MLP adds, the stream before it), whose **sum** is resid_post. Some return a pair whose **first** part already is it,
where summing gives a relative error of 0.5 to 1.0 and no error message. Others return a plain **tensor**, or a pair whose second
part may be None (**sum-if-not-none**). So the convention is a table by layer class, read from the source of vLLM 0.32; a class
that is not in it has no convention, and who needs one must refuse.

Nothing here imports vLLM.
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
"""Where decoder layers stand, from the model that vLLM's runner holds."""

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

_TABLES: tuple[tuple[Convention, str], ...] = (
    ("sum", _SUM),
    ("first", _FIRST),
    ("tensor", _TENSOR),
    ("sum-if-not-none", _SUM_IF_NOT_NONE),
)
TABLE: dict[str, Convention] = {name: convention for convention, names in _TABLES for name in names.split()}
"""`<module>.<class>` of the decoder layers of vLLM 0.32 -> convention."""

_HOOK = re.compile(r"blocks\.(\d+)\.hook_resid_post")


def layer_of_hook(name: str) -> int:
    """Index of vLLM's decoder layer behind which the stream of hook `name` stands.

    Raises:
        ModelError: `name` is not a resid_post hook.
    """
    match = _HOOK.fullmatch(name)
    if match is None:
        raise ModelError(
            "vLLM hands on nothing like this hook", got=name, need="blocks.<layer>.hook_resid_post",
            remedy="export a readout of resid_post",
        )  # fmt: skip
    return int(match.group(1))


def find_layers(model: nn.Module, n_layers: int) -> tuple[str, Sequence[nn.Module]]:
    """The container path and the decoder layers of a vLLM model.

    Args:
        model: as vLLM's runner holds it.
        n_layers: how many decoder layers its configuration names.

    Raises:
        ModelError: no known path holds so many layers.
    """
    for path in CONTAINERS:
        try:
            layers = attrgetter(path)(model)
        except AttributeError:
            continue
        if isinstance(layers, nn.ModuleList) and len(layers) == n_layers:
            return path, list(layers)
    raise ModelError(
        "the decoder layers are at no known place in the model", label=type(model).__name__,
        need=f"{n_layers} layers at one of {', '.join(CONTAINERS)}",
        remedy="serve a model that `amygdala-tl verify` passes",
    )  # fmt: skip


def layer_class(kind: type) -> str:
    """`<module>.<class>` of the class whose `forward` a layer of class `kind` runs."""
    owner = next(base for base in kind.__mro__ if "forward" in vars(base))
    return f"{owner.__module__.rsplit('.', 1)[-1]}.{owner.__name__}"


def convention_of(kind: type) -> Convention | None:
    """How the output of a decoder layer of class `kind` becomes resid_post; None for a class that is not known.

    Layers of the Transformers backend are Hugging Face's own, which return the stream.
    """
    owner = next(base for base in kind.__mro__ if "forward" in vars(base))
    if owner.__module__.startswith("transformers."):
        return "tensor"
    return TABLE.get(layer_class(kind))


def split_output(output: Any) -> tuple[Tensor, Tensor | None]:
    """The one or two tensors that a decoder layer returned, as [token, d_model] (the Transformers backend has a batch axis of 1).

    Raises:
        ModelError: it returned anything else.
    """
    parts = output if isinstance(output, tuple | list) else (output,)
    if not parts or not all(part is None or isinstance(part, Tensor) for part in parts[:2]) or parts[0] is None:
        raise ModelError("a decoder layer returned no tensor", got=type(output).__name__, remedy="serve another model")
    hidden, residual = parts[0], parts[1] if len(parts) > 1 else None
    return hidden.reshape(-1, hidden.shape[-1]), None if residual is None else residual.reshape(-1, residual.shape[-1])


def stream(hidden: Tensor, residual: Tensor | None, convention: Convention) -> Tensor | None:
    """resid_post in float32 from the parts of a layer's output, or None where the parts cannot be read by `convention`.

    Args:
        hidden, residual: from `split_output`.
        convention: from `convention_of`.
    """
    if convention == "first" or (residual is None and convention in ("tensor", "sum-if-not-none")):
        return hidden.to(torch.float32)
    if residual is None or convention == "tensor":
        return None
    return hidden.to(torch.float32) + residual.to(torch.float32)
