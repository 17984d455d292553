"""Whitened difference of means: discriminant analysis, and what it is invariant to."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from amygdala_tl.directions import mean, whitened
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.statistics import gather, gather_folds
from amygdala_tl.directions.whitening import STRENGTHS, covariance_shrinkage, whitened_streamed
from amygdala_tl.errors import FitError
from tests.directions.fitting import fit_directions, ungrouped

CONCEPTS = ("awe", "joy", "grief")
SEEDS = st.integers(0, 10_000)


def problem(seed, texts=80, layers=2, d_model=6):
    """Correlated activations in which each concept has a direction, every text in one class of each concept."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d_model, d_model, generator=generator)
    positive = torch.rand(texts, 3, generator=generator) < 0.3
    positive[:2], positive[2:4] = True, False
    planted = torch.randn(3, layers, d_model, generator=generator)
    activations = torch.randn(texts, layers, d_model, generator=generator) @ mixing
    activations += torch.einsum("tc,cld->tld", positive.float(), planted)
    return ungrouped(activations, positive, ~positive)


def unit(data, **options):
    return fit_directions(lambda given: whitened(given, **options), data, CONCEPTS)[0]


def cosine(one, other):
    return (one * other).sum(dim=-1) / (one.norm(dim=-1) * other.norm(dim=-1))


@given(SEEDS)
def test_without_shrinkage_it_is_scikit_learns_discriminant_analysis(seed):
    data = problem(seed)
    directions = unit(data, shrinkage=0.0)
    for concept in range(3):
        for layer in range(2):
            oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(
                data.activations[:, layer].numpy(), data.positive[:, concept].numpy()
            )
            expected = torch.tensor(oracle.coef_[0], dtype=torch.float32)
            assert cosine(directions[concept, layer], expected) > 0.999


@given(SEEDS)
def test_without_shrinkage_scores_do_not_depend_on_the_basis(seed):
    data = problem(seed)
    change = torch.randn(6, 6, generator=torch.Generator().manual_seed(seed)) + 3 * torch.eye(6)
    if torch.linalg.cond(change) > 50:
        return
    moved = LabelledActivations(data.activations @ change, data.positive, data.negative, data.groups)
    plain = torch.einsum("tld,cld->tlc", data.activations, whitened(data, shrinkage=0.0).vectors)
    other = torch.einsum("tld,cld->tlc", moved.activations, whitened(moved, shrinkage=0.0).vectors)
    torch.testing.assert_close(other, plain, rtol=1e-2, atol=1e-2 * float(plain.abs().max()))


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_translation_scale_order_and_doubling_change_nothing_else(seed):
    data = problem(seed)
    plain = unit(data)
    moved = LabelledActivations(4.0 * data.activations + 7.0, data.positive, data.negative, data.groups)
    assert cosine(unit(moved), plain).min() > 0.999
    swapped = data.of_concepts(torch.ones(3, dtype=torch.bool))
    swapped = LabelledActivations(
        swapped.activations, swapped.positive[:, [2, 0, 1]], swapped.negative[:, [2, 0, 1]], swapped.groups
    )
    assert cosine(unit(swapped), plain[[2, 0, 1]]).min() > 0.999
    order = torch.randperm(80, generator=torch.Generator().manual_seed(seed))
    shuffled = LabelledActivations(
        data.activations[order], data.positive[order], data.negative[order], data.groups[order]
    )
    assert cosine(unit(shuffled), plain).min() > 0.999
    doubled = LabelledActivations(
        *(torch.cat([part, part]) for part in (data.activations, data.positive, data.negative, data.groups))
    )
    assert cosine(unit(doubled), plain).min() > 0.999


def test_planted_directions_under_one_huge_nuisance_are_found_where_the_mean_difference_is_lost():
    found, lost = [], []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        positive = torch.rand(300, 1, generator=generator) < 0.3
        nuisance, planted = torch.linalg.qr(torch.randn(24, 2, generator=generator)).Q.T
        activations = 0.3 * torch.randn(300, 24, generator=generator) + positive * planted
        activations += 50.0 * torch.randn(300, 1, generator=generator) * nuisance
        data = ungrouped(activations[:, None], positive, ~positive)
        found.append(cosine(whitened(data, shrinkage=0.0).vectors[0, 0], planted))
        lost.append(cosine(mean(data).vectors[0, 0], planted))
    assert min(found) > 0.85
    assert sum(lost) / 20 < 0.5


def test_the_chosen_strength_is_in_the_parameters_and_the_best_of_its_table():
    parameters = whitened(problem(3)).parameters
    table = torch.tensor(list(parameters["auroc_by_shrinkage"].values()))
    assert parameters["shrinkage"] == [STRENGTHS[index] for index in table.argmax(dim=0)]


def pieces(data, *sizes):
    """The texts in parts of these sizes, in an order of their own."""
    order = torch.randperm(len(data.activations), generator=torch.Generator().manual_seed(9))
    return [data.take(rows) for rows in order.split(list(sizes))]


def graded(seed):
    """The same with grades, some of them not known."""
    data = problem(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    grades = torch.where(data.positive, 0.8, 0.1) + 0.1 * torch.rand(80, 3, generator=generator)
    return dataclasses.replace(data, grades=grades.masked_fill(torch.rand(80, 3, generator=generator) < 0.1, torch.nan))


@pytest.mark.parametrize("make", [problem, graded])
def test_statistics_gathered_in_parts_are_those_of_the_whole(make):
    data = make(5)
    parts, whole = gather(pieces(data, 1, 29, 50), second_moments=True), gather([data], second_moments=True)
    for name in (
        "n_positive",
        "n_negative",
        "mean",
        "covariance",
        "positive_mean",
        "negative_mean",
        "grade_covariance",
    ):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-4, atol=1e-4)
    expected = torch.cov(data.activations[:, 1].T, correction=0)
    torch.testing.assert_close(whole.covariance[1], expected, rtol=1e-4, atol=1e-4)
    if data.grades is not None:
        known = ~data.grades[:, 2].isnan()
        pair = torch.stack([data.activations[known, 1, 4], data.grades[known, 2]])
        naive = torch.cov(pair, correction=0)[0, 1]
        torch.testing.assert_close(whole.grade_covariance[2, 1, 4], naive, rtol=1e-4, atol=1e-5)


def test_statistics_without_a_fold_are_those_of_the_other_texts():
    data = graded(6)
    fold = group_folds(data.groups, 4)
    folds = gather_folds([(data, fold)], 4, second_moments=True)
    for number in range(4):
        naive = gather([data.take(fold != number)], second_moments=True)
        for name in ("n", "n_positive", "mean", "covariance", "positive_mean", "grade_covariance"):
            torch.testing.assert_close(getattr(folds.without(number), name), getattr(naive, name), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [problem, graded])
def test_texts_in_parts_give_the_same_vectors_and_the_same_strengths(make):
    data = make(7)
    whole, parts = whitened(data), whitened_streamed(lambda: pieces(data, 17, 40, 3, 20), data.groups)[0]
    assert parts.parameters == whole.parameters
    assert cosine(parts.vectors, whole.vectors).min() > 0.9999


def test_with_enough_texts_not_every_fold_is_scored_and_all_texts_are_fitted_on(monkeypatch):
    data = problem(7)
    every = whitened(data)
    monkeypatch.setattr("amygdala_tl.directions.whitening.ENOUGH_TEXTS", 30)  # of 80: two folds of 16
    some, _ = whitened_streamed(lambda: pieces(data, 17, 40, 3, 20), data.groups)
    assert some.parameters["auroc_by_shrinkage"] != every.parameters["auroc_by_shrinkage"]
    strength = some.parameters["shrinkage"]
    for layer in range(2):
        expected = whitened(data, shrinkage=strength[layer]).vectors[:, layer]
        assert cosine(some.vectors[:, layer], expected).min() > 0.9999


def test_the_shrinkage_of_the_covariance_is_a_naive_double_loop():
    covariance = torch.cov(problem(2).activations[:, 0].T)
    correlation = torch.corrcoef(problem(2).activations[:, 0].T)
    above = below = 0.0
    for row in range(6):
        for column in range(6):
            if row != column:
                above += float((1 - correlation[row, column] ** 2) ** 2) / 79
                below += float(correlation[row, column] ** 2)
    assert covariance_shrinkage(covariance, 80) == pytest.approx(min(1.0, above / below), rel=1e-3)


def test_fewer_texts_than_dimensions_need_shrinkage_and_say_so():
    data = problem(1, texts=12, d_model=40)
    with pytest.raises(FitError, match="shrinkage above 0"):
        whitened(data, shrinkage=0.0)
    assert torch.isfinite(whitened(data).vectors).all()


def test_a_coordinate_that_never_varies_gets_no_weight():
    data = problem(4)
    data.activations[:, :, 2] = 5.0
    vectors = whitened(data, shrinkage=0.5).vectors
    assert torch.isfinite(vectors).all()
    assert (vectors[:, :, 2] == 0).all()


def test_graded_labels_with_two_grades_are_the_two_classes():
    data = problem(6)
    graded = LabelledActivations(
        data.activations, data.positive, data.negative, data.groups, grades=data.positive.float()
    )
    assert cosine(whitened(graded, shrinkage=0.4).vectors, whitened(data, shrinkage=0.4).vectors).min() > 0.9999
