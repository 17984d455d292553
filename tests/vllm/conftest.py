"""Skips what needs vLLM where there is none, and says so."""

import os

import pytest

from amygdala_tl.vllm.golden import has_vllm
from tests.report.conftest import browser  # noqa: F401
from tests.routes.conftest import collector  # noqa: F401
from tests.serve.page import opening, visit  # noqa: F401

# Small enough for two cores and a test machine's memory; read when vLLM starts.
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
# Two servers side by side would each choose the same core.
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")


def pytest_configure(config):
    config.addinivalue_line("markers", "needs_vllm: runs vLLM itself (make test-vllm)")


def pytest_collection_modifyitems(items):
    if not has_vllm():
        for item in items:
            if item.get_closest_marker("needs_vllm"):
                item.add_marker(pytest.mark.skip(reason="vLLM is not installed here; `make test-vllm` runs this"))


@pytest.fixture(scope="session")
def served_checkpoint(tiny_checkpoint):
    """Folder of a tiny checkpoint with heads of 32, the smallest that vLLM's attention on the CPU takes."""

    def make(model_type):
        return tiny_checkpoint(
            model_type, num_attention_heads=2, num_key_value_heads=1 + (model_type in ("gpt2", "opt"))
        )

    return make
