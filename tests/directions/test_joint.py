"""Directions that borrow strength from related concepts: what must not change, and what they gain."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.directions import LabelledActivations, joint, whitened
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.borrowing import borrow
from amygdala_tl.directions.statistics import gather
from amygdala_tl.directions.whitening import joint_streamed
from tests.directions.fitting import ungrouped

SEEDS = st.integers(0, 10_000)


def related(seed, texts, concepts=8, factors=2, d_model=40):
    """Concepts that are mixtures of two factors, as moods are of valence and arousal, with a tenth of the texts each."""
    generator = torch.Generator().manual_seed(seed)
    fixed = torch.Generator().manual_seed(1)
    moods = torch.randn(concepts, factors, generator=fixed)
    planted, basis = torch.randn(factors, d_model, generator=fixed), torch.randn(d_model, d_model, generator=fixed)
    felt = torch.randn(texts, factors, generator=generator)
    tagged = felt @ moods.T + torch.randn(texts, concepts, generator=generator)
    positive = tagged > tagged.quantile(0.9, dim=0)
    activations = felt @ planted + torch.randn(texts, d_model, generator=generator) @ basis
    return ungrouped(activations[:, None].float(), positive, ~positive)


def read(data, vectors):
    return auroc(data.scores(vectors)[0], data.positive, data.negative).float()


def cosine(one, other):
    return torch.nn.functional.cosine_similarity(one, other, dim=-1)


def test_related_concepts_with_few_texts_are_read_better():
    unseen, gains = related(99, 4000), []
    for seed in range(5):
        data = related(seed, 200)
        alone, together = (read(unseen, method(data, shrinkage=0.5).vectors) for method in (whitened, joint))
        gains.append(together - alone)
    assert torch.stack(gains).mean() > 0.02


def test_many_texts_leave_nothing_to_borrow():
    data = related(0, 20_000)
    alone, together = (method(data, shrinkage=0.0).vectors for method in (whitened, joint))
    assert (read(data, together) - read(data, alone)).abs().max() < 0.002


def test_a_single_concept_has_the_direction_of_whitened():
    data = related(3, 200).of_concepts(torch.arange(8) == 2)
    one, other = (method(data, shrinkage=0.5).vectors for method in (whitened, joint))
    assert cosine(one, other).min() > 0.99999
    positive, negative = data.activations[data.positive[:, 0]], data.activations[data.negative[:, 0]]
    one, other = (method(positive, negative, shrinkage=0.5) for method in (whitened, joint))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@settings(max_examples=8)
@given(SEEDS)
def test_neither_order_nor_units_matter(seed):
    data, generator = related(seed, 120), torch.Generator().manual_seed(seed)
    vectors, order = joint(data, shrinkage=0.3).vectors, torch.randperm(8, generator=generator)
    shuffled = dataclasses.replace(data, positive=data.positive[:, order], negative=data.negative[:, order])
    assert cosine(joint(shuffled, shrinkage=0.3).vectors, vectors[order]).min() > 0.999
    scaled = joint(dataclasses.replace(data, activations=data.activations * 37.0), shrinkage=0.3).vectors
    assert cosine(scaled, vectors).min() > 0.999


def test_a_concept_without_a_class_takes_no_part():
    data = related(4, 200)
    positive = data.positive.clone()
    positive[:, 5] = False
    lacking = joint(dataclasses.replace(data, positive=positive), shrinkage=0.5).vectors
    rest = torch.arange(8) != 5
    assert lacking[5].isnan().all()
    assert cosine(lacking[rest], joint(data.of_concepts(rest), shrinkage=0.5).vectors).min() > 0.999


def test_two_concepts_with_the_same_texts_have_the_same_direction():
    data = related(5, 200)
    twice = dataclasses.replace(data, positive=data.positive[:, [0, 0, 1]], negative=data.negative[:, [0, 0, 1]])
    vectors = joint(twice, shrinkage=0.5).vectors
    assert cosine(vectors[0], vectors[1]).min() > 0.9999


def test_texts_in_parts_give_the_same():
    data = related(6, 300)
    parts = [data.take(torch.arange(300) % 3 == part) for part in range(3)]
    close = {"rtol": 1e-3, "atol": 1e-5}
    found, expected = joint_streamed(lambda: parts, data.groups)[0], joint(data)
    assert found.parameters["shrinkage"] == expected.parameters["shrinkage"]
    assert cosine(found.vectors, expected.vectors).min() > 0.9999
    torch.testing.assert_close(
        gather(parts, second_moments=True).label_covariance,
        torch.cov(data.positive.T.double(), correction=0).float(),
        **close,
    )


def test_the_covariance_of_labels_leaves_texts_out_that_are_in_neither_class():
    positive = torch.tensor([[1, 0], [0, 1], [0, 0], [1, 1]], dtype=torch.bool)
    negative = ~positive
    negative[2, 1] = False  # unknown
    data = LabelledActivations(torch.randn(4, 1, 3), positive, negative, torch.arange(4))
    expected = torch.tensor([[0.25, (0.5 * -2 / 3 - 0.5 * 1 / 3 + 0.5 * 1 / 3) / 4], [0.0, (2 * 1 / 9 + 4 / 9) / 4]])
    expected[1, 0] = expected[0, 1]
    torch.testing.assert_close(gather([data], second_moments=True).label_covariance, expected)


@pytest.mark.parametrize("chance", [0.0, 0.5, 5.0])
def test_no_direction_vanishes(chance):
    vectors = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    found = borrow(vectors, torch.zeros(6, 10), torch.eye(6), torch.ones(6), chance)
    assert cosine(found, vectors).min() > 0.9999
    assert torch.isfinite(found).all()
    assert (found.norm(dim=1) > 0).all()
