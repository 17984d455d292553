"""The comparison of methods, beside a loop over strengths and folds with the public estimators."""

from unittest import mock

import pytest
import torch

from amygdala_tl.directions import LabelledActivations, joint, linear, mean, whitened, whitening
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.choice import choose_method, held_out_aurocs
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.method import parse_method
from amygdala_tl.directions.regression import PER_TEXT
from amygdala_tl.errors import FitError
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


def test_pairs_are_fitted_without_a_penalty(world):
    groups = torch.arange(240) // 2
    positive = (torch.arange(240) % 2 == 0)[:, None]
    pairs = LabelledActivations(world.activations, positive, ~positive, groups)
    fold = group_folds(groups, 3)
    found = held_out_aurocs(parse_method("linear", ""), pairs, NEUTRAL, fold)
    torch.testing.assert_close(found, naive(pairs, fold, linear), rtol=0, atol=1e-3)


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
