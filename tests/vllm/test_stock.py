"""The plugin beside a stock vLLM: `pip install --no-deps amygdala-tl` is enough."""

import subprocess
import sys

import pytest

from tests.vllm.bundles import write_bundle

CODE = """
import importlib, pkgutil, sys

# What amygdala-tl depends on and vLLM 0.32 does not ask for.
ABSENT = {"transformer_lens", "jaxtyping", "sklearn", "scipy", "httpx", "httpx_sse", "rich", "textual", "typer",
          "plotly", "tomli_w"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import amygdala_tl.routes
import amygdala_tl.vllm
from amygdala_tl.readout.record import load_readout

for room in (amygdala_tl.routes, amygdala_tl.vllm):
    for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
        if module.name.rpartition(".")[2] not in OFFLINE:
            importlib.import_module(module.name)
readout = load_readout(sys.argv[1])
assert readout.scores(readout.vectors[:, 0]).shape == (len(readout.layers), len(readout.concepts))
"""

OFFLINE = {"golden", "golden_worker", "model", "offline", "parcels", "pooling_worker"}
"""Modules of `amygdala-tl verify` and `capture`, which run in the environment of amygdala-tl."""


@pytest.mark.needs_vllm
def test_the_plugin_imports_nothing_that_stock_vllm_lacks(tmp_path):
    path = write_bundle(tmp_path / "readout.safetensors", d_model=16, layers=(1, 3))
    code = f"OFFLINE = {OFFLINE!r}\n{CODE}"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
