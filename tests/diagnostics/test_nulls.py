"""Nulls: what permutations keep, how p-values are distributed under the null, and corrections over concepts."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.diagnostics.nulls import (
    holm,
    permutation_null,
    permuted_texts,
    random_direction_null,
    westfall_young,
)
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.directions.auroc import auroc
from tests.diagnostics.worlds import grouped_scores, planted


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def naive_holm(values):
    """Step-down, as it is written in the paper."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    result, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, values[place] * (len(values) - rank)))
        result[place] = highest
    return result


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_step_down_of_the_paper(values):
    assert holm(torch.tensor(values, dtype=torch.float64)).tolist() == pytest.approx(naive_holm(values))


def test_holm_does_not_count_what_has_no_p_value():
    found = holm(torch.tensor([0.01, torch.nan, 0.03]))
    assert found[[0, 2]].tolist() == pytest.approx([0.02, 0.03])
    assert found[1].isnan()


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(0, 99))
def test_every_permutation_uses_each_text_once(groups, seed):
    rows = permuted_texts(torch.tensor(groups), seeded(seed), 5)
    assert (rows.sort(dim=1).values == torch.arange(len(groups))).all()


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(0, 99))
def test_groups_in_random_order_are_laid_over_the_texts_group_by_group(groups, seed):
    names, index = torch.unique(torch.tensor(groups), return_inverse=True)
    (found,) = permuted_texts(torch.tensor(groups), seeded(seed), 1).long()
    place = torch.randperm(len(names), generator=seeded(seed))
    assert torch.equal(found[index.argsort(stable=True)], place[index].argsort(stable=True))


@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 99))
def test_equally_large_groups_take_each_others_whole_pattern(n_groups, size, seed):
    groups = torch.arange(n_groups).repeat_interleave(size)[torch.randperm(n_groups * size, generator=seeded(seed))]
    for row in permuted_texts(groups, seeded(seed), 4):
        for group in range(n_groups):
            sources = row[groups == group]
            assert len(groups[sources].unique()) == 1
            assert (sources.diff() > 0).all()


@given(st.lists(st.integers(1, 5), min_size=2, max_size=8), st.integers(0, 99))
def test_texts_of_a_group_stay_side_by_side_where_groups_differ_in_size(sizes, seed):
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    for row in permuted_texts(groups, seeded(seed), 3):
        runs = torch.unique_consecutive(groups[row])
        assert len(runs) == len(sizes)


@pytest.mark.parametrize("levels", [12, 10**6])
def test_p_values_and_quantiles_are_those_of_a_loop_over_permutations(levels):
    scores = torch.randint(0, levels, (40, 3), generator=seeded()).float()
    label = torch.randint(-1, 2, (40, 3), generator=seeded(1))
    positive, negative, groups = label == 1, label == -1, torch.arange(40) // 3
    found = permutation_null(ScoredTexts(scores, positive, negative, groups), seeded(2), permutations=99)
    rows = permuted_texts(groups, seeded(2), 99)
    loop = torch.stack([auroc(scores, positive[row], negative[row]) for row in rows])
    real = auroc(scores, positive, negative)
    assert torch.allclose(found.quantile, loop.quantile(0.95, dim=0))
    assert torch.allclose(found.p_value, (1 + (loop >= real - 1e-9).sum(dim=0)).double() / 100)


def test_under_the_null_small_p_values_are_as_rare_as_they_say_even_where_groups_differ_in_size():
    p_values = []
    for seed in range(6):
        scores, positive, _ = grouped_scores(0.5, 30, 60, 4, corpora=100, seed=seed, clustering=0.5)
        kept = torch.rand(len(scores), generator=seeded(seed)) < 0.6
        groups = (torch.arange(60).repeat_interleave(4))[kept]
        null = permutation_null(
            ScoredTexts(scores[kept], positive[kept], ~positive[kept], groups), seeded(seed), permutations=200
        )
        p_values.append(null.p_value)
    share = float((torch.cat(p_values) <= 0.05).double().mean())
    assert 0.02 < share < 0.085, share  # binomial error of 600: 0.9 points


def naive_westfall_young(real, null):
    """Step-down max-T, as it is written in the book; `null` is [concept, permutation]."""
    deviation = null.square().mean(dim=1).sqrt().tolist()
    t = [float(value) / spread for value, spread in zip(real, deviation, strict=True)]
    order = sorted(range(len(t)), key=lambda place: -t[place])
    result, highest = [0.0] * len(t), 0.0
    for rank, place in enumerate(order):
        count = 1
        for permutation in null.T.tolist():
            count += max(permutation[other] / deviation[other] for other in order[rank:]) >= t[place]
        highest = max(highest, count / (1 + null.shape[1]))
        result[place] = highest
    return result


@given(st.integers(1, 6), st.integers(2, 30), st.integers(0, 999))
def test_the_correction_over_concepts_is_the_step_down_of_the_book(concepts, permutations, seed):
    null = (
        torch.randn(concepts, permutations, generator=seeded(seed)).double() * torch.arange(1.0, concepts + 1)[:, None]
    )
    real = torch.randn(concepts, generator=seeded(seed + 1)).double() * 3
    found = westfall_young(0.5 + real / 100, 0.5 + null / 100)
    assert found.tolist() == pytest.approx(naive_westfall_young(real, null))


def test_a_concept_without_an_auroc_does_not_count_and_equal_scores_prove_nothing():
    null = 0.5 + 0.1 * torch.randn(3, 99, generator=seeded()).double()
    null[1], null[2, ::2] = torch.nan, torch.nan
    real = torch.tensor([0.9, torch.nan, 0.8]).double()
    found = westfall_young(real, null)
    assert found[1].isnan()
    assert torch.equal(found[[0, 2]], westfall_young(real[[0, 2]], null[[0, 2]]))
    assert found[0] == 0.01
    assert westfall_young(torch.tensor([0.5]).double(), torch.full((1, 99), 0.5).double()) == 1.0


def test_under_the_null_a_family_of_related_concepts_has_a_false_alarm_in_at_most_one_case_of_twenty():
    alarms = []
    for seed in range(200):
        own = torch.randn(120, 13, generator=seeded(seed))
        scores, drawn = own[:, :6] + own[:, 12:], torch.randn(120, 6, generator=seeded(1000 + seed))
        positive = drawn > torch.tensor([0.0, 0.0, 1.0, 1.0, 1.6, 1.6])  # half of the texts, a sixth, a twentieth
        texts = ScoredTexts(scores, positive, ~positive, torch.arange(120) // 2)
        alarms.append(bool((permutation_null(texts, seeded(seed), permutations=199).corrected <= 0.05).any()))
    assert 0.005 <= sum(alarms) / 200 <= 0.09  # binomial error: 1.5 points


def test_by_default_there_are_enough_permutations_for_hundreds_of_concepts():
    scores, positive, groups = grouped_scores(0.99, 60, 60, 3, corpora=200, seed=1)
    null = permutation_null(ScoredTexts(scores, positive, ~positive, groups), seeded())
    assert (null.corrected >= null.p_value).all()
    assert (null.corrected <= 0.01).all()


def test_texts_without_a_score_and_concepts_without_a_class_do_not_count():
    scores, positive, groups = grouped_scores(0.9, 30, 40, 3, corpora=3, seed=1)
    negative = ~positive
    negative[:, 1] = False
    scores[::7, 0] = torch.nan
    null = permutation_null(ScoredTexts(scores, positive, negative, groups), seeded(), permutations=50)
    assert null.p_value.isnan().tolist() == null.corrected.isnan().tolist() == [False, True, False]
    assert null.p_value[0] < 0.05


def test_random_directions_stay_far_below_a_planted_one_and_above_chance():
    data, directions = planted(0, layers=2)
    null = random_direction_null(data, data, seeded(), 100)
    assert null.shape == (2, 8)
    real = auroc(data.activations[:, 0] @ directions[:, 0].T, data.positive, data.negative)
    assert (null[0] < real).all()
    assert (null > 0.5).all()


def test_sums_of_random_directions_over_layers_are_one_more_row():
    data, _ = planted(0, layers=3)
    found = random_direction_null(data, data, seeded(), 50, combined=True)
    assert torch.equal(found[:3], random_direction_null(data, data, seeded(), 50))
    assert (found[3] > 0.5).all()
    same = replace(data, activations=data.activations[:, :1])
    alone = random_direction_null(same, same, seeded(), 50, combined=True)
    torch.testing.assert_close(alone[1], alone[0])  # the sum of one layer is that layer


def test_random_directions_carry_the_weight_of_leading_components():
    data, _ = planted(0, strength=0.0)
    tilted = data.activations.clone()
    tilted[..., 0] = 30 * (data.positive[:, :1].float() + 0.1 * tilted[..., 0])
    world = replace(data, activations=tilted)
    null = random_direction_null(world, world, seeded(), 100)
    assert null[0, 0] > 0.95
    assert (null[0, 1:] < 0.7).all()


@given(st.integers(0, 99))
@settings(max_examples=5, deadline=None)
def test_the_random_null_does_not_depend_on_scale_or_shift(seed):
    data, _ = planted(seed, texts=60)
    found = random_direction_null(data, data, seeded(), 20)
    moved = replace(data, activations=data.activations * 4 + 100)
    assert torch.allclose(found, random_direction_null(moved, moved, seeded(), 20), atol=1e-3)
