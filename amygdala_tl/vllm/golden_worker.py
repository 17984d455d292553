"""Program that runs one prompt of token ids in vLLM and saves the output of each decoder layer to a safetensors file.

    python -m amygdala_tl.vllm.golden_worker '{"engine": {"model": ...}, "ids": [...], "output": "layers.safetensors"}'

It is a process of its own, because vLLM changes its process permanently (threads, distributed state, memory).
"""

import json
import os
import sys
from functools import partial
from typing import Any

import torch
from safetensors.torch import save_file

from amygdala_tl.vllm.mapping import CONVENTIONS, convention_of, find_layers, layer_class, split_output, stream


def main(request: str) -> None:
    """Run a request, which is a JSON object, and write its output."""
    said = json.loads(request)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the model must live in this process
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    for name in ("VLLM_READOUT_VECTORS", "VLLM_READOUT_MANIFEST"):
        os.environ.pop(name, None)  # the plugin stays off
    from vllm import LLM, SamplingParams, TokensPrompt

    engine = LLM(
        **said["engine"],
        enforce_eager=True,
        enable_prefix_caching=False,
        max_model_len=len(said["ids"]) + 8,
        max_num_seqs=1,
        disable_log_stats=True,
    )
    n_layers = engine.llm_engine.model_config.get_total_num_hidden_layers()
    layers: list[dict[str, str | None]] = []
    tensors: dict[str, torch.Tensor] = {}

    def keep(_module: torch.nn.Module, _inputs: Any, output: Any, *, index: int) -> None:
        if f"{index}.first" in tensors:
            return  # a later step
        parts = split_output(output)
        streams = {way: stream(*parts, way) for way in CONVENTIONS}
        # Copies, because vLLM's fused norms write into the tensors that a layer returned.
        tensors.update(
            {f"{index}.{way}": read.detach().cpu().clone() for way, read in streams.items() if read is not None}
        )

    def attach(model: torch.nn.Module) -> None:
        for index, layer in enumerate(find_layers(model, n_layers)[1]):
            layers.append({"kind": layer_class(type(layer)), "way": convention_of(type(layer))})
            layer.register_forward_hook(partial(keep, index=index))

    engine.apply_model(attach)
    engine.generate(TokensPrompt(prompt_token_ids=said["ids"]), SamplingParams(max_tokens=1), use_tqdm=False)
    save_file(tensors, said["output"], metadata={"layers": json.dumps(layers)})


if __name__ == "__main__":
    main(sys.argv[1])
