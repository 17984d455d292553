"""The strongest concepts of an answer, which a span names. Servers that write spans are in test_guarded.py."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from amygdala_tl.errors import ReadoutError
from amygdala_tl.readout.record import Readout
from amygdala_tl.readout.scale import Combined, Scale
from amygdala_tl.records import Calibration
from amygdala_tl.routes.store import Entry
from amygdala_tl.vllm.failures import Failures
from amygdala_tl.vllm.traces import Traces, strongest

CONCEPTS = tuple(f"concept{at}" for at in range(7))


@pytest.fixture
def readout():
    """Three layers with means 0 and deviations 2."""
    vectors = torch.nn.functional.normalize(torch.randn(3, 7, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    calibration = Calibration(torch.zeros(3, 7), torch.full((3, 7), 2.0), 100)
    return Readout(CONCEPTS, (1, 2, 3), vectors, token_calibration=calibration)


@pytest.fixture
def entry():
    """One token of a prompt and four of an answer, of which one has no row and the first is at position 0."""
    made = Entry("a-0", "a", 0, [5], output_ids=[1, 2, 3, 4])
    made.rows.put([0, 1, 3], np.random.default_rng(0).normal(size=(3, 3, 7)).astype(np.float32))
    return made


def test_the_strongest_five_are_those_of_the_mean_over_the_answer_at_the_middle_layer(readout, entry):
    (layer,) = (readout.layers.index(readout.middle_layer),)
    z = (entry.rows.get(1) + entry.rows.get(3))[layer] / 2 / 2
    order = np.argsort(-z)[:5]
    found = strongest(readout, entry)
    assert [name for name, _ in found] == [CONCEPTS[one] for one in order]
    np.testing.assert_allclose([value for _, value in found], z[order], rtol=1e-5)
    assert strongest(readout, Entry("b-0", "b", 0, [5], output_ids=[1, 2])) == []


def test_the_score_over_all_layers_comes_first_and_readouts_without_z_are_refused(readout, entry):
    scale = Scale(None, Calibration(torch.ones(1, 7), torch.full((1, 7), 3.0), 100))
    weights = torch.rand(3, 7, generator=torch.Generator().manual_seed(1))
    combined = replace(readout, combined=Combined(weights, scale))
    z = (((entry.rows.get(1) + entry.rows.get(3)) / 2 * weights.numpy()).sum(axis=0) - 1) / 3
    np.testing.assert_allclose([value for _, value in strongest(combined, entry)], np.sort(z)[:1:-1], rtol=1e-5)
    Traces(combined, Failures())
    for without in (replace(readout, token_calibration=None), replace(combined, combined=Combined(weights, Scale()))):
        with pytest.raises(ReadoutError, match="no calibration of tokens"):
            Traces(without, Failures())
