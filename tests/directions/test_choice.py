"""The comparison of methods, beside a loop over strengths and folds with the public estimators."""

import dataclasses
from unittest import mock

import pytest
import torch

from amygdala_tl.directions import LabelledActivations, joint, linear, logistic, mean, whitened, whitening
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.choice import choose_method, held_out_aurocs
from amygdala_tl.directions.denoise.chain import denoise
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.method import ESTIMATORS, parse_method
from amygdala_tl.directions.regression import PER_TEXT
from amygdala_tl.errors import FitError, InputError
from tests.diagnostics.worlds import planted

NEUTRAL = torch.empty(0, 2, 24)


@pytest.fixture(scope="module")
def world():
    """Texts in which one concept cannot be fitted without the second of three folds."""
    data, _ = planted(2, texts=240, concepts=4, layers=2, d_model=24)
    positive = data.positive.clone()
    positive[:, 3] &= group_folds(data.groups, 3) == 1
    return LabelledActivations(data.activations + 3.0, positive, ~positive, data.groups)


def naive(data, fold, fit):
    """[fold, layer, concept] AUROC of each fold by a loop."""
    table = []
    for held_out in range(3):
        kept, left = data.take(fold != held_out), data.take(fold == held_out)
        vectors = fit(kept).vectors
        table.append(
            torch.stack(
                [auroc(scores, left.positive, left.negative) for scores in left.scores(torch.nan_to_num(vectors))]
            )
        )
        table[-1][:, ~kept.complete()] = torch.nan
    return torch.stack(table)


@pytest.mark.parametrize("estimator", [whitened, joint])
def test_a_method_takes_part_with_the_best_of_its_strengths_on_the_folds_of_the_comparison(world, estimator):
    fold = group_folds(world.groups, 3)
    found = held_out_aurocs(parse_method(estimator.__name__, ""), world, NEUTRAL, fold)
    each = torch.stack(
        [naive(world, fold, lambda kept, at=at: estimator(kept, shrinkage=at)) for at in whitening.STRENGTHS]
    )
    best = each.nanmean(dim=3).nanmean(dim=1).argmax(dim=0)
    expected = torch.stack([each[best[layer], :, layer] for layer in range(2)], dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3, equal_nan=True)
    assert found[[0, 2], :, 3].isnan().all()


def test_a_regression_takes_part_with_a_strength_that_the_folds_of_the_comparison_choose(world):
    fold, usable = group_folds(world.groups, 3), world.of_concepts(torch.arange(4) < 3)
    found = held_out_aurocs(parse_method("linear", ""), usable, NEUTRAL, fold)
    each = torch.stack(
        [naive(usable, fold, lambda kept, at=at: linear(kept, strength=at / 240)) for at in PER_TEXT]
    ).mean(dim=(1, 3))
    # Fits that only choose a strength are rough: it may be a neighbour that is as good.
    assert (found.mean(dim=(0, 2)) >= each.amax(dim=0) - 2e-3).all()
    assert (found.mean(dim=(0, 2)) <= each.amax(dim=0) + 1e-6).all()


def test_a_method_without_a_strength_is_fitted_as_it_is(world):
    fold = group_folds(world.groups, 3)
    found = held_out_aurocs(parse_method("mean", ""), world, NEUTRAL, fold)
    torch.testing.assert_close(found, naive(world, fold, mean), rtol=0, atol=1e-3, equal_nan=True)


@pytest.mark.parametrize("estimator", [linear, logistic])
def test_paired_concepts_are_fitted_as_pairs_beside_others(world, estimator):
    groups, fold = torch.arange(240) // 2, group_folds(torch.arange(240) // 2, 3)
    paired = torch.arange(240) % 2 == 0
    positive = torch.stack([paired, world.positive[:, 0]], dim=1)
    data = LabelledActivations(world.activations, positive, ~positive, groups)
    method = parse_method(estimator.__name__, "")
    found = held_out_aurocs(method, data, NEUTRAL, fold)
    alone = LabelledActivations(world.activations, positive[:, :1], ~positive[:, :1], groups)
    expected = naive(alone, fold, estimator)
    torch.testing.assert_close(found[..., :1], expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(held_out_aurocs(method, alone, NEUTRAL, fold), expected, rtol=0, atol=1e-3)


def test_a_fold_of_one_positive_and_one_negative_is_no_pair(world):
    positive = (torch.arange(6) < 3)[:, None]
    data = LabelledActivations(world.activations[:6], positive, ~positive, torch.arange(6))
    found = held_out_aurocs(parse_method("linear", ""), data, NEUTRAL, torch.arange(6) % 3)
    assert found.isfinite().all()


@pytest.mark.parametrize(("estimator", "option"), [(linear, "strength"), (whitened, "shrinkage")])
def test_grades_are_regressed_on_in_the_comparison(world, estimator, option):
    generator = torch.Generator().manual_seed(0)
    grades = torch.where(world.positive, 0.5 + 0.5 * torch.rand(world.positive.shape, generator=generator), 0.0)
    graded = dataclasses.replace(world, grades=grades).of_concepts(torch.arange(4) < 3)
    fold = group_folds(world.groups, 3)
    chosen = {option: estimator(graded, folds=fold).parameters[option]}
    expected = naive(graded, fold, lambda kept: estimator(kept, **chosen))
    found = held_out_aurocs(parse_method(estimator.__name__, ""), graded, NEUTRAL, fold)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_denoisers_see_groups_and_their_own_layers_while_strengths_are_chosen(world, monkeypatch):
    neutral = torch.randn(40, 2, 24, generator=torch.Generator().manual_seed(1)) + 3.0
    method, seen = parse_method("joint", "neutral-pca:0.5,topic"), []

    def spy(data, **options):
        seen.append((data, options))
        return joint(data, **options)

    monkeypatch.setitem(ESTIMATORS, "joint", spy)
    fold = group_folds(world.groups, 3)
    held_out_aurocs(method, world, neutral, fold)
    denoised = denoise(world, neutral, method.steps)[0]
    data, options = seen[0]
    torch.testing.assert_close(data.activations, denoised.activations)
    assert torch.equal(data.groups, world.groups)
    assert torch.equal(options["folds"], fold)
    strengths = joint(denoised, folds=fold).parameters["shrinkage"]
    assert [options for _, options in seen[1:]] == [{"shrinkage": strengths}] * 3


def test_strengths_are_chosen_on_given_folds(world):
    usable, fold = world.of_concepts(torch.arange(4) < 3), group_folds(world.groups, 3)
    for estimator, table in (
        (linear, "tried_auroc"),
        (logistic, "tried_auroc"),
        (whitened, "auroc_by_shrinkage"),
        (joint, "auroc_by_shrinkage"),
    ):
        found, own = (estimator(usable, folds=folds).parameters[table] for folds in (fold, None))
        assert found == estimator(dataclasses.replace(usable, groups=fold)).parameters[table]
        assert found != own


def test_strengths_for_another_number_of_layers_are_refused(world):
    usable = world.of_concepts(torch.arange(4) < 3)
    for estimator, option in ((linear, "strength"), (whitened, "shrinkage")):
        for wrong in ([0.5], [0.5] * 3):
            with pytest.raises(InputError, match="the strengths do not fit the layers"):
                estimator(usable, **{option: wrong})


def test_strengths_go_back_in_as_they_came_out(world):
    usable = world.of_concepts(torch.arange(4) < 3)
    for estimator, option in (
        (linear, "strength"),
        (logistic, "strength"),
        (whitened, "shrinkage"),
        (joint, "shrinkage"),
    ):
        first = estimator(usable)
        again = estimator(usable, **{option: first.parameters[option]})
        torch.testing.assert_close(again.vectors, first.vectors)
        different = first.parameters[option][0] / 3
        apart = estimator(usable, **{option: [different, first.parameters[option][1]]})
        torch.testing.assert_close(apart.vectors[:, 1], first.vectors[:, 1])
        torch.testing.assert_close(apart.vectors[:, 0], estimator(usable, **{option: different}).vectors[:, 0])


@pytest.mark.parametrize("name", ["mean", "linear", "joint", "whitened"])
def test_a_concept_with_all_positives_in_one_fold_is_no_reason_to_fail(world, name):
    alone = world.of_concepts(torch.arange(4) == 3)
    with pytest.raises(FitError, match="no method could be fitted"):
        choose_method(alone, NEUTRAL, [parse_method(name, "")], n_folds=3)
    beside = world.of_concepts(torch.arange(4) > 1)
    assert choose_method(beside, NEUTRAL, [parse_method(name, "")], n_folds=3)[1][0]["auroc"] > 0.5


def test_a_comparison_factorises_a_covariance_once_for_each_fold_and_strength(world, monkeypatch):
    solve = mock.Mock(side_effect=whitening._solve)
    monkeypatch.setattr(whitening, "_solve", solve)
    choose_method(world, NEUTRAL, [parse_method("joint", "")], n_folds=3)
    per_layer = 3 * len(whitening.STRENGTHS) + 1 + 3  # then with the chosen strength: all texts, and without each fold
    assert solve.call_count == 2 * per_layer


def test_labels_in_no_fold_cannot_be_compared(world):
    nothing = LabelledActivations(
        world.activations, world.positive & False, world.negative & False, world.groups
    ).of_concepts(torch.arange(4) < 1)
    with pytest.raises(FitError, match="no method could be fitted"):
        choose_method(nothing, NEUTRAL, [parse_method("mean", ""), parse_method("linear", "")])
