"""Verdicts on layers: another layer, another convention and an unknown class are named as such."""

import pytest
import torch

from amygdala_tl.lens.parity import check_layers, golden_ids, mean_removed, relative_difference
from amygdala_tl.records import LayerOutput
from amygdala_tl.vllm.mapping import CONVENTIONS, stream

GENERATOR = torch.Generator().manual_seed(0)
STREAMS = torch.randn(4, 6, 8, generator=GENERATOR).cumsum(dim=0)
PARTS = torch.randn(4, 6, 8, generator=GENERATOR)


def output(hidden, residual, kind, convention):
    """What vLLM's decoder layer returned, read in every way."""
    ways = {way: stream(hidden, residual, way) for way in CONVENTIONS}
    return LayerOutput(kind, convention, {way: read for way, read in ways.items() if read is not None})


def outputs(convention="sum"):
    """Four layers that return (stream - part, part)."""
    return [output(STREAMS[i] - PARTS[i], PARTS[i], "llama.LlamaDecoderLayer", convention) for i in range(4)]


def check(references, found):
    return check_layers(references, found, engine="vLLM", tolerance=1e-4)


def test_right_layers_pass():
    checks = check({1: STREAMS[1], 3: STREAMS[3]}, outputs())
    assert [(one.layer, one.passed, one.finding) for one in checks] == [(1, True, ""), (3, True, "")]
    assert all(one.difference < 1e-5 for one in checks)


def test_a_shifted_layer_is_named_with_the_layer_it_matches():
    right, wrong = check({1: STREAMS[1], 3: STREAMS[2]}, outputs())
    assert right.passed
    assert wrong.finding == "layer 3 of the bundle matches vLLM layer 2"
    assert not wrong.passed


def test_a_wrong_convention_is_named_with_the_right_one():
    (wrong,) = check({2: STREAMS[2] - PARTS[2]}, outputs())
    assert wrong.finding == "layer 2: llama.LlamaDecoderLayer is read as `sum`, but its stream is `first`"


def test_an_unknown_class_is_refused_though_a_convention_fits():
    (wrong,) = check({2: STREAMS[2]}, outputs(convention=None))
    assert not wrong.passed
    assert "is not a known decoder layer" in wrong.finding
    assert "`sum` fits here" in wrong.finding


def test_a_stream_of_nothing_like_it_matches_no_layer():
    (wrong,) = check({2: torch.randn(6, 8, generator=GENERATOR)}, outputs())
    assert "matches no vLLM layer" in wrong.finding


def test_a_layer_past_the_last_one_is_named():
    (wrong,) = check({9: STREAMS[2]}, outputs())
    assert wrong.finding == "vLLM has 4 layers and no layer 9"


def test_nan_and_another_width_never_pass():
    found = outputs()
    found[2] = output(torch.full_like(PARTS[2], torch.nan), PARTS[2], "llama.LlamaDecoderLayer", "sum")
    assert not check({2: STREAMS[2]}, found)[0].passed
    assert not check({1: STREAMS[1][:, :4]}, outputs())[0].passed


def test_a_loose_tolerance_still_takes_only_the_nearest_layer():
    near = STREAMS[0] + 0.01 * torch.randn(6, 8, generator=GENERATOR)
    found = [output(near, None, "opt.OPTDecoderLayer", "tensor"), output(STREAMS[0], None, "o.O", "tensor")]
    (wrong,) = check_layers({0: STREAMS[0]}, found, engine="vLLM", tolerance=0.1)
    assert wrong.finding == "layer 0 of the bundle matches vLLM layer 1"


def test_without_the_mean_streams_that_differ_by_a_constant_are_the_same_layer():
    moved = {1: STREAMS[1] + torch.randn(6, 1, generator=GENERATOR)}
    plain, centred = (
        check_layers(moved, outputs(), engine="vLLM", tolerance=1e-4, without_mean=flag)[0] for flag in (False, True)
    )
    assert not plain.passed
    assert centred.passed
    shifted = check_layers({2: moved[1]}, outputs(), engine="vLLM", tolerance=1e-4, without_mean=True)[0]
    assert shifted.finding == "layer 2 of the bundle matches vLLM layer 1"
    assert mean_removed(STREAMS).mean(dim=-1).abs().max() < 1e-6


def test_golden_ids_are_the_same_each_time_and_inside_the_vocabulary():
    ids = golden_ids(1000)
    assert ids == golden_ids(1000)
    assert len(set(ids)) == len(ids) == 48
    assert 0 < min(ids) <= max(ids) < 1000


@pytest.mark.parametrize(("vocabulary", "padded"), [(50257, 50304), (151669, 151936), (32001, 32064)])
def test_golden_ids_do_not_depend_on_how_a_vocabulary_is_padded(vocabulary, padded):
    assert golden_ids(vocabulary) == golden_ids(padded)


@pytest.mark.parametrize("vocabulary", [1, 2, 3, 17])
def test_golden_ids_fit_the_smallest_vocabularies(vocabulary):
    assert all(0 <= token < vocabulary for token in golden_ids(vocabulary))


def test_the_difference_is_relative_and_of_the_worst_token():
    reference = torch.ones(2, 4) * torch.tensor([[1.0], [100.0]])
    ours = reference + torch.tensor([[0.5], [1.0]])
    assert relative_difference(ours, reference, 1e-4) == pytest.approx(0.5)


def test_in_half_precision_the_median_token_counts():
    reference = torch.ones(5, 4)
    ours = reference + torch.tensor([[0.01], [0.01], [9.0], [0.02], [0.03]])
    assert relative_difference(ours, reference, 0.1) == pytest.approx(0.02, rel=1e-3)
    ours[:3] = torch.nan
    assert relative_difference(ours, reference, 0.1) == torch.inf


def test_a_layer_of_which_one_token_went_to_another_expert_passes_and_says_so():
    moved = STREAMS[2].clone()
    moved[3] = torch.randn(8, generator=GENERATOR)
    references = {2: STREAMS[2]}
    found = [output(stream, None, "m.MoEDecoderLayer", "tensor") for stream in (*STREAMS[:2], moved, STREAMS[3])]
    (half,) = check_layers(references, found, engine="vLLM", tolerance=0.1)
    assert half.passed
    assert (
        half.finding
        == "layer 2 in vLLM: 1 of 6 tokens differ by more than 1e-01, as rounding makes them in a mixture of experts"
    )
    assert not check_layers(references, found, engine="vLLM", tolerance=1e-4)[0].passed
