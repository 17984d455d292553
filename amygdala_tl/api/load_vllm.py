"""`load_vllm`: a checkpoint by name, in vLLM, for `capture`."""

from typing import Any

import torch

from amygdala_tl.errors import InputError, ModelError
from amygdala_tl.lens.checkpoints import load_checkpoint, readable_source
from amygdala_tl.lens.identity import golden_layers, golden_of, golden_tokens, versions
from amygdala_tl.lens.intact import check_finite, check_vocabulary
from amygdala_tl.lens.model import describe, dtype_of
from amygdala_tl.lens.round_trip import check_tokenizer
from amygdala_tl.lens.text_only import language_model
from amygdala_tl.records import ModelInfo
from amygdala_tl.settings import MODEL
from amygdala_tl.vllm.golden import has_vllm
from amygdala_tl.vllm.model import VllmModel, streams
from amygdala_tl.vllm.offline import Engine


def load_vllm(
    spec: str = MODEL.model,
    dtype: str = MODEL.dtype,
    *,
    n_devices: int = MODEL.n_devices,
    revision: str | None = MODEL.revision,
    trust_remote_code: bool = MODEL.trust_remote_code,
    **options: Any,
) -> VllmModel:
    """Start vLLM on a checkpoint, for `capture`.

    Its processes run until `close`, or the end of a `with` block. Where vLLM spawns them, as on a CPU, a script must call this
    below `if __name__ == "__main__":`.

    Args:
        spec: `embedded`, a checkpoint folder, or a hub id.
        dtype: as in `load_model`.
        n_devices: split every layer over this many devices (tensor parallelism).
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that the checkpoint brings.
        options: further keywords of `vllm.LLM`, such as `gpu_memory_utilization`.

    Raises:
        InputError: vLLM is not installed, or the dtype is unknown.
        ModelError: the model cannot be read, or vLLM cannot run it.
    """
    if not has_vllm():
        raise InputError("vLLM is not installed", remedy="run `pip install vllm`, or capture with TransformerLens")
    if spec.endswith(".gguf"):
        raise ModelError("vLLM reads no .gguf file", got=spec, remedy="capture with TransformerLens")
    target = dtype_of(dtype, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    checkpoint = load_checkpoint(spec, target, revision=revision, trust_remote_code=trust_remote_code)
    check_finite(checkpoint.hf_model, checkpoint.id)
    vocabulary = len(checkpoint.hf_model.get_input_embeddings().weight)
    check_vocabulary(checkpoint.hf_model.get_input_embeddings().weight, checkpoint.tokenizer, checkpoint.id)
    check_tokenizer(checkpoint.tokenizer)
    said, tokenizer = describe(checkpoint, language_model(checkpoint.hf_model)), checkpoint.tokenizer
    del checkpoint  # vLLM has its own copy of the weights
    options |= {"tensor_parallel_size": n_devices, "revision": revision, "trust_remote_code": trust_remote_code}
    engine = Engine(readable_source(spec), n_ctx=said["n_ctx"], dtype=said["dtype"], **options)
    try:
        golden = streams(engine, golden_tokens(vocabulary, said["n_ctx"]).tolist(), golden_layers(said["n_layers"]))
    except ModelError:
        engine.close()
        raise
    info = ModelInfo(
        **said, engine="vLLM", versions=versions({"vllm": engine.version}), golden=golden_of(golden.unbind(dim=1))
    )
    return VllmModel(engine, info, tokenizer, vocabulary)
