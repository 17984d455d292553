"""Program that runs one prompt of token ids in vLLM and saves the output of each decoder layer to a safetensors file.

    python -m amygdala_tl.vllm.golden_worker '{"model": ..., "ids": [...], "dtype": "float32", "output": "layers.safetensors"}'

It is a process of its own, because vLLM changes its process permanently (threads, distributed state, memory).
"""

import json
import os
import sys
from typing import Any

import torch
from safetensors.torch import save_file

from amygdala_tl.vllm.mapping import convention_of, find_layers, layer_class, split_output


def main(request: str) -> None:
    """Run a request, which is a JSON object, and write its output."""
    said = json.loads(request)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the model must live in this process
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    for name in ("VLLM_READOUT_VECTORS", "VLLM_READOUT_MANIFEST"):
        os.environ.pop(name, None)  # the plugin stays off
    from vllm import LLM, SamplingParams, TokensPrompt

    engine = LLM(
        model=said["model"],
        revision=said.get("revision"),
        dtype=said["dtype"],
        enforce_eager=True,
        enable_prefix_caching=False,
        max_model_len=len(said["ids"]) + 8,
        max_num_seqs=1,
        disable_log_stats=True,
        trust_remote_code=said.get("trust_remote_code", False),
    )
    recorder = _Recorder(engine.llm_engine.model_config.get_total_num_hidden_layers())
    engine.apply_model(recorder.attach)
    engine.generate(TokensPrompt(prompt_token_ids=said["ids"]), SamplingParams(max_tokens=1), use_tqdm=False)
    save_file(recorder.tensors, said["output"], metadata={"layers": json.dumps(recorder.layers)})


class _Recorder:
    """Keeps the first output of every decoder layer after `attach`.

    vLLM's fused norms write into the tensors that a layer returned, so they are copied at once.
    """

    def __init__(self, n_layers: int) -> None:
        self.n_layers = n_layers
        self.tensors: dict[str, torch.Tensor] = {}
        self.layers: list[dict[str, Any]] = []

    def attach(self, model: torch.nn.Module) -> None:
        _, layers = find_layers(model, self.n_layers)
        for index, layer in enumerate(layers):
            self.layers.append({"kind": layer_class(type(layer)), "convention": convention_of(type(layer))})
            layer.register_forward_hook(lambda _module, _inputs, output, index=index: self._keep(index, output))

    def _keep(self, index: int, output: Any) -> None:
        if f"{index}.hidden" in self.tensors:
            return
        hidden, residual = split_output(output)
        self.tensors[f"{index}.hidden"] = hidden.detach().cpu().clone()
        if residual is not None:
            self.tensors[f"{index}.residual"] = residual.detach().cpu().clone()


if __name__ == "__main__":
    main(sys.argv[1])
