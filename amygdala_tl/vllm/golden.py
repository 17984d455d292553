"""Outputs of vLLM's decoder layers for the golden tokens."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import safe_open

from amygdala_tl.errors import ModelError
from amygdala_tl.records import LayerOutput
from amygdala_tl.vllm.mapping import CONVENTIONS

_LIMIT = 1800  # seconds; a large model takes minutes to load


def has_vllm() -> bool:
    """Return whether vLLM is installed."""
    return importlib.util.find_spec("vllm") is not None


def vllm_layers(
    model: str, ids: list[int], dtype: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> list[LayerOutput]:
    """Start vLLM, run `ids`, the token ids of one prompt, and return the output of each decoder layer.

    `model` is a checkpoint folder or a hub id; the other arguments are as vLLM takes them.

    Raises:
        ModelError: vLLM cannot run the model, or its layers are not at a known place; with the last error that it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        output, log = Path(folder) / "layers.safetensors", Path(folder) / "log"
        engine = {"model": model, "dtype": dtype, "revision": revision, "trust_remote_code": trust_remote_code}
        request = {"engine": engine, "ids": ids, "output": str(output)}
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
            lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
            errors = [line for line in lines if "Error: " in line]
            got = (errors or lines or ["nothing said"])[-1][-400:]
            raise ModelError("vLLM cannot run the model", label=model, got=got, remedy="see vLLM's documentation")
        return _read(output)


def _read(path: Path) -> list[LayerOutput]:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
        layers = json.loads(file.metadata()["layers"])
    return [
        LayerOutput(
            **said, streams={way: tensors[name] for way in CONVENTIONS if (name := f"{index}.{way}") in tensors}
        )
        for index, said in enumerate(layers)
    ]
