"""The golden tokens, and what vLLM's layers return for them."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from safetensors import safe_open

from amygdala_tl.errors import ModelError
from amygdala_tl.vllm.compare import LayerOutput

N_TOKENS = 48
_LIMIT = 1800  # seconds; a large model loads for minutes


def golden_ids(vocabulary: int, n_tokens: int = N_TOKENS) -> list[int]:
    """The same token ids every time, spread over the vocabulary, for a vocabulary of this size.

    Steps of a large prime: no two neighbours are alike, and attention has something to tell apart.
    """
    return [index * 7919 % (vocabulary - 1) + 1 for index in range(1, n_tokens + 1)]


def has_vllm() -> bool:
    """True if vLLM is installed here."""
    return importlib.util.find_spec("vllm") is not None


def vllm_layers(
    model: str, ids: list[int], dtype: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> list[LayerOutput]:
    """What every decoder layer of vLLM returns for `ids`, from a vLLM that is started for it and ended.

    Args:
        model: checkpoint folder or hub id.
        ids: token ids of one prompt.
        dtype: `float32`, `bfloat16` or `float16`.
        revision, trust_remote_code: as vLLM takes them.

    Raises:
        ModelError: vLLM cannot run the model, or its layers are at no known place; with the last lines that it said.
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
    """The last line that names an error, else the last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line]
    return (errors or lines or ["nothing said"])[-1][-400:]


def _read(path: Path) -> list[LayerOutput]:
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        layers: list[dict[str, Any]] = json.loads(file.metadata()["layers"])
        return [
            LayerOutput(
                hidden=file.get_tensor(f"{index}.hidden"),
                residual=file.get_tensor(f"{index}.residual") if f"{index}.residual" in names else None,
                kind=said["kind"],
                convention=said["convention"],
            )
            for index, said in enumerate(layers)
        ]
