"""A collector of a large readout."""

import pytest

from amygdala_tl.readout.record import load_readout
from amygdala_tl.routes.collector import Collector
from amygdala_tl.routes.metrics import TextMetrics
from tests.vllm.bundles import write_bundle


@pytest.fixture(scope="session")
def collector(tmp_path_factory):
    """The collector of a readout of 171 concepts at 4 layers."""
    concepts = tuple(f"concept{index}" for index in range(171))
    path = tmp_path_factory.mktemp("collector") / "r.safetensors"
    return Collector(
        load_readout(write_bundle(path, d_model=64, layers=(0, 1, 2, 3), concepts=concepts)), TextMetrics()
    )
