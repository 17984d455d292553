"""Checks before a server starts with a bundle: its size, and whether readouts and steering support the setup.

Whether it is the same model, the golden check says when it runs.
"""

from typing import Any

from amygdala_tl.errors import ModelError, ReadoutError
from amygdala_tl.readout.record import Readout
from amygdala_tl.vllm.settings import STEER


def refuse_other_size(readout: Readout, *, model: str, n_layers: int, hidden_size: int) -> None:
    """Raise `ReadoutError` if a readout does not fit a model of this size."""
    if readout.vectors.shape[-1] != hidden_size or max(readout.layers) >= n_layers:
        got, need = f"{n_layers} layers of {hidden_size}", f"layer {max(readout.layers)} of {readout.vectors.shape[-1]}"
        remedy = "serve the model it was trained on, or train one for this model"
        raise ReadoutError("the readout does not fit the served model", label=model, got=got, need=need, remedy=remedy)


def refuse_engine(config: Any) -> None:
    """Raise `ModelError` if vLLM's configuration is one that readouts do not support."""
    drafted = None if config.speculative_config is None else config.speculative_config.method
    for wrong, what in (
        (config.parallel_config.pipeline_parallel_size > 1, "pipeline parallelism"),
        (drafted not in (None, "ngram"), f"speculative decoding by {drafted}"),
        (drafted is not None and config.use_v2_model_runner, "speculative decoding with model runner V2"),
        (getattr(config.parallel_config, "enable_dbo", False), "dual batch overlap"),
        (config.model_config.runner_type != "generate", "a pooling model"),
    ):
        if wrong:
            remedy = "serve without it, or without readouts"
            raise ModelError("readouts do not support this yet", got=what, remedy=remedy)


def refuse_server(args: Any, *, chosen_names: bool) -> None:
    """Raise `ModelError` for several serving processes, or if clients choose the engine's names, and so could share one."""
    if (count := getattr(args, "api_server_count", None) or 1) > 1:
        got = f"--api-server-count {count}"
        raise ModelError("readouts need one serving process", got=got, remedy="use --api-server-count 1")
    if chosen_names:
        got = "VLLM_DISABLE_REQUEST_ID_RANDOMIZATION"
        raise ModelError("readouts need the engine's own names of requests", got=got, remedy="leave it unset")


def refuse_to_steer(config: Any) -> None:
    """Raise `ModelError` if vLLM's configuration is one that steering does not support."""
    parallel = config.parallel_config
    for wrong, what, remedy in (
        (parallel.tensor_parallel_size > 1, "tensor parallelism", "serve on one device"),
        (parallel.data_parallel_size > 1, "data parallelism", "serve with one engine"),
        (config.use_v2_model_runner, "model runner V2", "set VLLM_USE_V2_MODEL_RUNNER=0"),
        (config.speculative_config is not None, "speculative decoding", "serve without it"),
    ):
        if wrong:
            raise ModelError("steering does not support this yet", got=what, remedy=f"{remedy}, or leave {STEER} unset")
