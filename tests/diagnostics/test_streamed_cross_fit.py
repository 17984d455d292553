"""Cross-fitting from sums over cells, beside naive loops over folds with the public estimators."""

import math
from unittest import mock

import pytest
import torch

from amygdala_tl.diagnostics.cross_fit import cross_fit_streamed, cross_fitted_scores, split_half_cosine
from amygdala_tl.directions import fold_directions
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.denoise.grand_mean import grand_mean
from amygdala_tl.directions.difference_of_means import mean
from amygdala_tl.directions.estimators import unit_directions
from amygdala_tl.directions.folds import fold_cells, group_folds
from amygdala_tl.directions.method import parse_method
from amygdala_tl.directions.whitening import STRENGTHS, joint, whitened
from tests.diagnostics.worlds import planted


class InParts:
    """Labelled activations that come in parts of a few texts, out of order."""

    def __init__(self, data, size=70):
        self.data, self.size = data, size
        self.positive, self.negative, self.groups, self.grades = data.positive, data.negative, data.groups, data.grades
        self.n_layers, self.d_model = data.n_layers, data.d_model

    def passes(self, layer=None, rows=None):
        rows = torch.arange(len(self.groups)) if rows is None else rows
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(5))
        for some in torch.split(rows[order], self.size):
            yield some, self.data.whole(layer).take(some)

    def whole(self, layer=None):
        return self.data.whole(layer)

    def sample(self):
        return self.data


SCORING = {
    1: [(1,), (0,), (3,), (2,), (0,)],
    2: [(1, 2), (0, 2), (0, 1), (4, 0), (3, 0)],
    4: [set(range(5)) - {fold} for fold in range(5)],
}
"""Number of scored folds -> which, without each fold; two folds that score without one another share their vectors."""


def unit(vectors):
    return unit_directions(vectors, [str(place) for place in range(len(vectors))])


@pytest.fixture(scope="module")
def world():
    data, _ = planted(2, texts=420, concepts=4, layers=2, d_model=24)
    positive = data.positive.clone()
    positive[:, 3] &= group_folds(data.groups, 5) == 1  # cannot be fitted without that fold
    neither = torch.rand(positive.shape, generator=torch.Generator().manual_seed(1)) < 0.1
    return LabelledActivations(data.activations + 3.0, positive & ~neither, ~positive & ~neither, data.groups)


def naive_whitened(data, kept, n_scored, method=whitened):
    """Unit directions of `whitened` or `joint` on `kept`, the shrinkage chosen by a loop over some other folds."""
    fold = group_folds(data.groups, 5)
    left_out = next(number for number in range(5) if number not in fold[torch.isin(data.groups, kept.groups)].unique())
    result = []
    for layer in range(data.n_layers):
        table = []
        for strength in STRENGTHS:
            found = []
            for scoring in SCORING[n_scored][left_out]:
                rest = data.take((fold != left_out) & (fold != scoring)).whole(layer)
                test = data.take(fold == scoring).whole(layer)
                scores = test.scores(method(rest, shrinkage=strength).vectors)[0]
                found.append(auroc(scores, test.positive, test.negative).nanmean())
            table.append(torch.stack(found).nanmean())
        best = STRENGTHS[int(torch.stack(table).argmax())]
        result.append(method(kept.whole(layer), shrinkage=best).vectors)
    return unit(torch.cat(result, dim=1))


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_scores_and_halves_of_mean_are_those_of_loops_that_hold_all_texts(world):
    found = cross_fit_streamed(parse_method("mean", ""), InParts(world))
    close(found.scores, cross_fitted_scores(world, lambda data: unit(mean(data).vectors)))
    close(found.halves, split_half_cosine(world, lambda data: unit(mean(data).vectors)))
    assert found.scores[:, group_folds(world.groups, 5) == 1, 3].isnan().all()


@pytest.mark.parametrize(("enough", "pairs"), [(84, 3), (150, 6), (10_000, 10)])
def test_scores_of_whitened_are_those_of_a_loop_that_chooses_the_shrinkage_without_the_scored_fold(
    world, enough, pairs, monkeypatch
):
    monkeypatch.setattr(fold_directions, "ENOUGH_TEXTS", enough)
    fits = mock.Mock(side_effect=fold_directions.all_strengths)
    monkeypatch.setattr(fold_directions, "all_strengths", fits)
    n_scored = min(4, math.ceil(enough * 5 / 420))
    usable = world.of_concepts(torch.tensor([True, True, True, False]))
    found = cross_fit_streamed(parse_method("whitened", ""), InParts(world), halves=False)
    expected = cross_fitted_scores(usable, lambda kept: naive_whitened(usable, kept, n_scored))
    close(found.scores[..., :3], expected)
    assert fits.call_count == pairs * world.n_layers


def test_the_shrinkage_is_chosen_on_no_more_texts_of_a_fold_than_are_enough(world, monkeypatch):
    monkeypatch.setattr(fold_directions, "ENOUGH_TEXTS", 30)
    read, texts = [], InParts(world)
    passes = texts.passes
    monkeypatch.setattr(texts, "passes", lambda layer, rows=None: read.append(rows) or passes(layer, rows))
    cross_fit_streamed(parse_method("whitened", ""), texts, halves=False)
    (chosen,) = {tuple(rows.tolist()) for rows in read if rows is not None}
    assert list(chosen) == sorted(set(chosen))
    assert group_folds(world.groups, 5)[list(chosen)].bincount().tolist() == [30] * 5


def test_scores_of_joint_are_those_of_the_same_loop(world):
    usable = world.of_concepts(torch.tensor([True, True, True, False]))
    found = cross_fit_streamed(parse_method("joint", ""), InParts(usable), halves=False)
    close(found.scores, cross_fitted_scores(usable, lambda kept: naive_whitened(usable, kept, 4, joint)))


def test_halves_of_whitened_take_the_shrinkage_of_each_layer(world):
    usable = world.of_concepts(torch.tensor([True, True, True, False]))
    found = cross_fit_streamed(parse_method("whitened", ""), InParts(usable), [0.3, 0.9])
    for layer, strength in enumerate((0.3, 0.9)):
        expected = split_half_cosine(
            usable.whole(layer), lambda data, strength=strength: unit(whitened(data, shrinkage=strength).vectors)
        )
        close(found.halves[:, layer : layer + 1], expected)


def test_vector_denoisers_act_on_each_folds_directions(world):
    usable = world.of_concepts(torch.tensor([True, True, True, False]))
    found = cross_fit_streamed(parse_method("mean", "grand-mean"), InParts(usable))
    close(found.scores, cross_fitted_scores(usable, lambda data: unit(grand_mean(mean(data).vectors))))


@pytest.mark.parametrize("name", ["mean", "joint", "half_whitened"])
def test_some_folds_are_scored_as_among_all(world, name, monkeypatch):
    monkeypatch.setattr(fold_directions, "ENOUGH_TEXTS", 84)  # each fold chooses its shrinkage on one other
    usable = world.of_concepts(torch.tensor([True, True, True, False]))
    method, own = parse_method(name, ""), torch.isin(group_folds(world.groups, 5), torch.tensor([1, 4]))
    everything = cross_fit_streamed(method, InParts(usable), halves=False).scores
    found = cross_fit_streamed(method, InParts(usable), halves=False, folds=[1, 4]).scores
    close(found[:, own], everything[:, own])
    assert found[:, ~own].isnan().all()


def test_a_fold_is_scored_on_the_same_others_whichever_folds_are_asked_for(world, monkeypatch):
    monkeypatch.setattr(fold_directions, "ENOUGH_TEXTS", 84)
    cells = fold_cells(world.groups, 5)
    fits = fold_directions.FoldDirections(parse_method("joint", ""), InParts(world), 0, cells)
    scored = []
    tables = fits._tables
    monkeypatch.setattr(fits, "_tables", lambda pairs: scored.append(pairs) or tables(pairs))
    fits.without_folds([1, 4])
    fits.without_folds(range(5))
    assert scored[0] == [pair for pair in scored[1] if pair[0] in (1, 4)]
    assert scored[1] == [(fold, *SCORING[1][fold]) for fold in range(5)]


def test_a_loop_over_some_folds_scores_these(world):
    own = group_folds(world.groups, 5) == 4
    everything, some = (
        cross_fitted_scores(world, lambda data: unit(mean(data).vectors), folds=folds) for folds in (None, {4})
    )
    close(some[:, own], everything[:, own])
    assert some[:, ~own].isnan().all()
