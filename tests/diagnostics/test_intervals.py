"""Intervals hold the truth as often as they say, resample groups, and equal a naive bootstrap's standard error."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.diagnostics.average_precision import average_precision
from amygdala_tl.diagnostics.intervals import (
    auroc_interval,
    average_precision_interval,
    d_prime_interval,
    degrees_of_freedom,
    fisher_ratio_interval,
    group_draws,
    student_quantile,
)
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.directions.auroc import auroc
from tests.diagnostics.worlds import grouped_scores

ALL = (auroc_interval, average_precision_interval, d_prime_interval)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(seed=0, texts=60, concepts=3):
    generator = seeded(seed)
    scores = torch.randn(texts, concepts, generator=generator)
    label = torch.randint(-1, 2, (texts, concepts), generator=generator)
    return scores + 0.4 * label, label == 1, label == -1, torch.arange(texts) // 3


def test_over_simulated_corpora_the_interval_holds_the_true_auroc_as_often_as_it_says():
    held = []
    for seed, (n_positive, truth, n_groups) in enumerate(
        [(9, 0.6, 40), (9, 0.8, 100), (9, 0.95, 100), (30, 0.8, 40), (30, 0.95, 60), (100, 0.7, 100), (60, 0.9, 300)]
    ):
        scores, positive, groups = grouped_scores(truth, n_positive, n_groups, 3, corpora=200, seed=seed)
        found = auroc_interval(ScoredTexts(scores, positive, ~positive, groups), seeded(), replicates=200)
        held.append(((found.low <= truth) & (truth <= found.high)).double().mean().item())
    assert 0.92 < sum(held) / len(held) < 0.98
    assert min(held) > 0.89, held  # 200 corpora know a share of 95% to 1.5 points


def test_over_simulated_corpora_the_interval_holds_the_true_d_prime():
    scores, positive, groups = grouped_scores(0.8, 30, 80, 3, corpora=300, seed=1)
    found = d_prime_interval(ScoredTexts(scores, positive, ~positive, groups), seeded(), replicates=200)
    truth = math.sqrt(2) * torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(0.8))
    assert 0.91 < ((found.low <= truth) & (truth <= found.high)).double().mean() < 0.99


def test_texts_that_repeat_within_a_group_do_not_narrow_the_interval():
    scores, positive, negative, _ = small(texts=150)
    alone = torch.arange(150)
    copies = [tensor.repeat_interleave(4, dim=0) for tensor in (scores, positive, negative, alone)]
    for make in ALL:
        once = make(ScoredTexts(scores, positive, negative, alone), seeded())
        grouped = make(ScoredTexts(*copies), seeded())
        pretending = make(ScoredTexts(*copies[:3], torch.arange(600)), seeded())
        width, same, narrow = (found.high - found.low for found in (once, grouped, pretending))
        assert torch.allclose(width, same, rtol=0.15)
        assert (narrow < 0.7 * width).all()


@pytest.mark.parametrize("concept", range(3))
def test_its_width_is_the_spread_of_a_naive_bootstrap_over_groups(concept):
    scores, positive, negative, groups = small(texts=240)
    found = auroc_interval(ScoredTexts(scores, positive, negative, groups), seeded(), replicates=1000)
    generator, naive = seeded(5), []
    for _ in range(1000):
        drawn = torch.randint(80, (80,), generator=generator)
        texts = torch.cat([(groups == group).nonzero()[:, 0] for group in drawn])
        one = slice(concept, concept + 1)
        naive.append(auroc(scores[texts, one], positive[texts, one], negative[texts, one]).logit())
    quantile = student_quantile(degrees_of_freedom(positive, negative, groups))[concept]
    expected = 2 * quantile * torch.cat(naive).std()
    assert abs(float((found.high.logit() - found.low.logit())[concept] / expected) - 1) < 0.1


def test_values_are_those_of_the_plain_statistics():
    scores, positive, negative, groups = small()
    texts = ScoredTexts(scores, positive, negative, groups)
    assert torch.equal(auroc_interval(texts, seeded()).value, auroc(scores, positive, negative))
    found = average_precision_interval(texts, seeded())
    assert torch.allclose(found.value, average_precision(scores, positive, negative))
    plus, minus = scores[positive[:, 0], 0].double(), scores[negative[:, 0], 0].double()
    pooled = ((plus.var(correction=0) + minus.var(correction=0)) / 2).sqrt()
    d_prime = d_prime_interval(ScoredTexts(scores, positive, negative, groups), seeded())
    assert torch.allclose(d_prime.value[0], (plus.mean() - minus.mean()) / pooled)
    ratio = (plus.mean() - minus.mean()) ** 2 / (plus.var(correction=0) + minus.var(correction=0))
    assert torch.allclose(fisher_ratio_interval(d_prime).value[0], ratio)


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_an_interval_holds_its_value_and_stays_in_range(seed):
    data = small(seed, texts=24)
    for make in ALL:
        found = make(ScoredTexts(*data), seeded(), replicates=50)
        fine = found.value.isfinite()
        assert (found.low <= found.value)[fine].all()
        assert (found.value <= found.high)[fine].all()
    found = auroc_interval(ScoredTexts(*data), seeded(), replicates=50)
    assert (found.low[fine] >= 0).all()
    assert (found.high[fine] <= 1).all()


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_turning_scores_round_turns_the_auroc_interval_round(seed):
    scores, positive, negative, groups = small(seed)
    found = auroc_interval(ScoredTexts(scores, positive, negative, groups), seeded(), replicates=50)
    turned = auroc_interval(ScoredTexts(-scores, positive, negative, groups), seeded(), replicates=50)
    assert torch.allclose(turned.low, 1 - found.high)
    assert torch.allclose(turned.high, 1 - found.low)


def test_d_prime_does_not_change_under_scale_and_shift_even_far_from_zero():
    scores, positive, negative, groups = small()
    found = d_prime_interval(ScoredTexts(scores.double(), positive, negative, groups), seeded())
    moved = d_prime_interval(ScoredTexts(scores.double() * 3 + 1e6, positive, negative, groups), seeded())
    assert torch.allclose(found.low, moved.low, atol=1e-6)


def test_a_perfect_sample_of_few_texts_is_not_certain():
    scores = torch.arange(40.0).view(40, 1)
    positive = scores >= 32
    found = auroc_interval(ScoredTexts(scores, positive, ~positive, torch.arange(40)), seeded())
    assert found.value == 1
    assert found.high == 1
    assert 0.6 < found.low < 0.99


def test_where_one_group_holds_all_positive_texts_the_interval_is_everything():
    scores, _, _, groups = small()
    positive = (groups == 2).unsqueeze(1).expand(-1, 3)
    found = auroc_interval(ScoredTexts(scores, positive, ~positive, groups), seeded())
    assert (found.low == 0).all()
    assert (found.high == 1).all()
    assert d_prime_interval(ScoredTexts(scores, positive, ~positive, groups), seeded()).high.isinf().all()


def test_a_fisher_ratio_whose_classes_may_be_equal_starts_at_zero():
    scores, *labels = small()
    noise = torch.randn(scores.shape, generator=seeded(3))
    d_prime = d_prime_interval(ScoredTexts(noise, *labels), seeded())
    ratio = fisher_ratio_interval(d_prime)
    unsure = (d_prime.low < 0) & (d_prime.high > 0)
    assert unsure.any()
    assert (ratio.low[unsure] == 0).all()
    assert torch.allclose(ratio.high, torch.maximum(d_prime.low**2, d_prime.high**2) / 2)


def test_texts_without_a_score_do_not_count():
    scores, positive, negative, groups = small()
    lost = torch.rand(60, generator=seeded()) < 0.3
    expected = auroc(scores[~lost], positive[~lost], negative[~lost])
    scores[lost] = torch.nan
    assert torch.allclose(auroc_interval(ScoredTexts(scores, positive, negative, groups), seeded()).value, expected)


def test_a_concept_without_both_classes_has_no_value():
    scores, positive, negative, groups = small()
    negative[:, 1] = False
    for make in ALL:
        found = make(ScoredTexts(scores, positive, negative, groups), seeded())
        assert found.value.isnan().tolist() == [False, True, False]


def test_replicates_draw_as_many_groups_as_there_are():
    index, draws = group_draws(torch.tensor([7, 7, 3, 9]), seeded(), 20)
    assert index.tolist() == [1, 1, 0, 2]
    assert (draws.sum(dim=1) == 3).all()
    assert (draws[0] == 1).all()
    assert len(draws) == 21
