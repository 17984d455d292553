"""Outputs of vLLM's decoder layers for the golden tokens."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from amygdala_tl.errors import ModelError
from amygdala_tl.records import LayerOutput
from amygdala_tl.vllm.mapping import CONVENTIONS, stream

_LIMIT = 1800  # seconds; a large model takes minutes to load


def has_vllm() -> bool:
    """Return whether vLLM is installed."""
    return importlib.util.find_spec("vllm") is not None


def vllm_layers(
    model: str, ids: list[int], dtype: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> list[LayerOutput]:
    """Start vLLM, run `ids`, and return the output of each decoder layer.

    Args:
        model: checkpoint folder or hub id.
        ids: token ids of one prompt.
        dtype: `float32`, `bfloat16` or `float16`.
        revision, trust_remote_code: as vLLM takes them.

    Raises:
        ModelError: vLLM cannot run the model, or its layers are not at a known place; with the last error that it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        output, log = Path(folder) / "layers.safetensors", Path(folder) / "log"
        request = {
            "model": model, "ids": ids, "dtype": dtype, "output": str(output), "revision": revision,
            "trust_remote_code": trust_remote_code,
        }  # fmt: skip
        command = [sys.executable, "-m", "amygdala_tl.vllm.golden_worker", json.dumps(request)]
        with log.open("w") as stream:
            try:
                done = subprocess.run(
                    command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, timeout=_LIMIT, check=False,
                    env=os.environ | {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"},
                )  # fmt: skip
            except subprocess.TimeoutExpired as cause:
                raise ModelError("vLLM did not answer", label=model, got=f"{_LIMIT} s", remedy="try again") from cause
        if done.returncode != 0 or not output.exists():
            raise ModelError(
                "vLLM cannot run the model", label=model, got=_reason(log), remedy="see vLLM's documentation"
            )
        return _read(output)


def _reason(log: Path) -> str:
    """Return the last line that names an error, else the last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line]
    return (errors or lines or ["nothing said"])[-1][-400:]


def _read(path: Path) -> list[LayerOutput]:
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        outputs = []
        for index, said in enumerate(json.loads(file.metadata()["layers"])):
            hidden = file.get_tensor(f"{index}.hidden")
            residual = file.get_tensor(f"{index}.residual") if f"{index}.residual" in names else None
            streams = {way: stream(hidden, residual, way) for way in CONVENTIONS}
            read: dict[str, Tensor] = {way: tensor for way, tensor in streams.items() if tensor is not None}
            outputs.append(LayerOutput(said["kind"], said["convention"], read))
        return outputs
