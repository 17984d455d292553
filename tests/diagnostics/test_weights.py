"""Neurons and tokens nearest to a direction, beside naive loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.diagnostics.weights import best_neurons, logit_lens


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(0, 999))
@settings(max_examples=20)
def test_the_best_neuron_is_that_of_a_loop_over_all(seed):
    weights = torch.randn(3, 7, 5, generator=seeded(seed))
    directions = torch.randn(4, 5, generator=seeded(seed + 1))
    found = best_neurons(enumerate(weights), directions)
    for concept, direction in enumerate(directions):
        every = {
            (layer, neuron): float(torch.cosine_similarity(weights[layer, neuron], direction, dim=0))
            for layer in range(3)
            for neuron in range(7)
        }
        place = max(every, key=lambda key: abs(every[key]))
        assert found[concept][:2] == place
        assert found[concept][2] == pytest.approx(every[place], abs=1e-5)


def test_a_neuron_that_writes_the_direction_is_found_and_one_above_the_reading_layer_is_not():
    directions = torch.nn.functional.normalize(torch.randn(2, 16, generator=seeded()), dim=-1)
    weights = torch.randn(3, 20, 16, generator=seeded(1))
    weights[2, 5], weights[1, 8] = 3 * directions[0], -2 * directions[0]
    weights[1, 8, 0] += 0.5
    assert best_neurons(enumerate(weights), directions)[0][:2] == (2, 5)
    layer, index, cosine = best_neurons(enumerate(weights), directions, upto=(1, 2))[0]
    assert (layer, index) == (1, 8)
    assert -1 < cosine < -0.9
    assert best_neurons(enumerate(weights), directions, upto=(-1, 2))[0] is None


def test_tokens_are_those_of_the_sorted_logits_through_the_norms_gain():
    directions, unembedding = torch.randn(3, 8, generator=seeded()), torch.randn(8, 30, generator=seeded(1))
    gain = torch.rand(8, generator=seeded(2)) * 4
    up, down = logit_lens(directions, unembedding, gain, most=4)
    for concept in range(3):
        logits = [float((directions[concept] * gain) @ unembedding[:, token]) for token in range(30)]
        order = sorted(range(30), key=lambda token: -logits[token])
        assert up[concept].tolist() == order[:4]
        assert down[concept].tolist() == order[::-1][:4]
    assert not torch.equal(up, logit_lens(directions, unembedding, most=4)[0])


def test_a_layer_norm_does_not_see_a_direction_shared_by_all_coordinates():
    directions, unembedding = torch.randn(2, 8, generator=seeded()), torch.randn(8, 30, generator=seeded(1))
    gain = torch.rand(8, generator=seeded(2))
    up, _ = logit_lens(directions, unembedding, gain, centred=True)
    assert torch.equal(up, logit_lens(directions + 100.0, unembedding, gain, centred=True)[0])
    assert not torch.equal(up, logit_lens(directions + 100.0, unembedding, gain)[0])


def test_a_small_vocabulary_gives_all_it_has():
    up, down = logit_lens(torch.randn(1, 4), torch.randn(4, 3), most=10)
    assert sorted(up[0].tolist()) == sorted(down[0].tolist()) == [0, 1, 2]
