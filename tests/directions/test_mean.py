"""Difference of class means: its algebra, and a naive loop as oracle."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.directions import mean
from amygdala_tl.directions.method import ESTIMATORS
from amygdala_tl.errors import FitError
from tests.directions.fitting import fit_directions, ungrouped

CONCEPTS = ("awe", "joy", "grief")


def problem(seed, texts=40, layers=2, d_model=6):
    """Random activations, and labels with at least two texts in each class."""
    generator = torch.Generator().manual_seed(seed)
    activations = torch.randn(texts, layers, d_model, generator=generator)
    label = torch.randint(-1, 2, (texts, len(CONCEPTS)), generator=generator)
    label[:2], label[2:4] = 1, -1
    return activations, label == 1, label == -1


def directions(activations, positive, negative):
    """Unit directions of the mean difference."""
    return fit_directions(mean, ungrouped(activations, positive, negative), CONCEPTS)[0]


SEEDS = st.integers(0, 10_000)


@given(SEEDS)
def test_it_equals_a_naive_loop(seed):
    activations, positive, negative = problem(seed)
    vectors = mean(ungrouped(activations, positive, negative)).vectors
    for concept in range(len(CONCEPTS)):
        for layer in range(2):
            above = [activations[text, layer] for text in range(40) if positive[text, concept]]
            below = [activations[text, layer] for text in range(40) if negative[text, concept]]
            naive = sum(above) / len(above) - sum(below) / len(below)
            torch.testing.assert_close(vectors[concept, layer], naive, rtol=1e-4, atol=1e-5)


@given(SEEDS)
def test_translating_scaling_and_rotating_activations_does_what_it_must(seed):
    activations, positive, negative = problem(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    shift = torch.randn(6, generator=generator)
    plain = directions(activations, positive, negative)
    moved = directions(3.0 * activations @ rotation + shift, positive, negative)
    torch.testing.assert_close(moved, plain @ rotation, rtol=1e-3, atol=1e-4)


@given(SEEDS)
def test_permuting_texts_or_concepts_and_doubling_the_corpus_change_nothing_else(seed):
    activations, positive, negative = problem(seed)
    plain = directions(activations, positive, negative)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
    shuffled = directions(activations[order], positive[order], negative[order])
    torch.testing.assert_close(shuffled, plain, rtol=1e-4, atol=1e-5)
    swapped = directions(activations, positive[:, [2, 0, 1]], negative[:, [2, 0, 1]])
    torch.testing.assert_close(swapped, plain[[2, 0, 1]])
    doubled = (torch.cat([part, part]) for part in (activations, positive, negative))
    torch.testing.assert_close(directions(*doubled), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(ESTIMATORS.keys() - {"subspace"}))  # which needs tokens: see its own tests
def test_every_estimator_finds_a_planted_direction_with_its_sign(name):
    seed = 1
    activations, positive, negative = problem(seed, texts=400)
    planted = torch.nn.functional.normalize(torch.randn(2, 6, generator=torch.Generator().manual_seed(seed)), dim=-1)
    activations = 0.2 * activations + positive[:, :1, None] * planted
    data = ungrouped(activations, positive[:, :1], negative[:, :1])
    found = fit_directions(ESTIMATORS[name], data, ("awe",))[0]
    assert (found[0] * planted).sum(dim=-1).min() > 0.85


def test_directions_have_unit_length():
    torch.testing.assert_close(directions(*problem(3)).norm(dim=-1), torch.ones(3, 2))


def test_an_empty_class_names_the_concept():
    activations, positive, negative = problem(0)
    positive[:, 1] = False
    with pytest.raises(FitError, match=r"joy.*no positive"):
        directions(activations, positive, negative)


def test_a_zero_or_non_finite_direction_names_the_concept():
    activations, positive, negative = problem(0)
    with pytest.raises(FitError, match=r"awe, joy, grief.*zero or not finite"):
        directions(torch.ones_like(activations), positive, negative)
    activations[0, 1, 0] = torch.inf
    with pytest.raises(FitError, match="not finite"):
        directions(activations, positive, negative)
