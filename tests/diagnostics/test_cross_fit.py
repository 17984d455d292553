"""Scores by directions of other groups: nothing of a text's group reaches the directions that score it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.diagnostics.cross_fit import cross_fitted_scores, split_half_cosine
from amygdala_tl.diagnostics.nulls import permuted_texts
from amygdala_tl.directions import mean
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.estimators import unit_directions
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.errors import FitError
from tests.diagnostics.worlds import planted

GROUPS = st.lists(st.integers(0, 9), min_size=2, max_size=40).filter(lambda groups: len(set(groups)) > 1)


def by_mean(data):
    return unit_directions(mean(data).vectors, [str(number) for number in range(data.positive.shape[1])])


class Witness:
    """A fit that writes down which groups it was given."""

    def __init__(self):
        self.seen = []

    def __call__(self, data):
        self.seen.append(set(data.groups.tolist()))
        return torch.ones(data.positive.shape[1], data.activations.shape[1], data.activations.shape[2])


def labelled(groups, seed=0):
    generator = torch.Generator().manual_seed(seed)
    positive = torch.rand(len(groups), 2, generator=generator) < 0.5
    activations = torch.randn(len(groups), 1, 3, generator=generator)
    return LabelledActivations(activations, positive, ~positive, torch.tensor(groups))


@given(GROUPS, st.integers(2, 5), st.integers(0, 99))
def test_folds_never_cut_a_group(groups, n_folds, seed):
    groups = torch.tensor(groups)
    fold = group_folds(groups, n_folds, seed)
    for group in groups.unique():
        assert len(fold[groups == group].unique()) == 1


@given(GROUPS, st.integers(2, 5), st.integers(0, 99))
@settings(max_examples=50)
def test_no_group_is_on_both_sides_of_any_split_that_a_fit_sees(groups, n_folds, seed):
    data = labelled(groups, seed)
    witness = Witness()
    scores = cross_fitted_scores(data, witness, n_folds, seed)
    for text, group in enumerate(groups):
        if scores[:, text].isfinite().any():
            assert any(group not in seen for seen in witness.seen)
    n_folds = min(n_folds, len(set(groups)))
    fold = group_folds(data.groups, n_folds, seed)
    outside = [set(data.groups[fold != held_out].tolist()) for held_out in range(n_folds)]
    assert all(seen in outside for seen in witness.seen)
    witness = Witness()
    split_half_cosine(data, witness, splits=2, seed=seed)
    for one, other in zip(witness.seen[::2], witness.seen[1::2], strict=True):
        assert not one & other
        assert one | other == set(groups)


@given(GROUPS, st.integers(0, 99))
def test_permutations_give_the_texts_of_one_group_labels_of_neighbours(groups, seed):
    groups = torch.tensor(groups)
    sizes = torch.bincount(groups)
    for row in permuted_texts(groups, torch.Generator().manual_seed(seed), 2):
        for group in groups.unique():
            sources = groups[row[groups == group]]
            # Side by side in the row, so whole groups lie between the first and the last one.
            for inner in torch.unique_consecutive(sources)[1:-1]:
                assert (sources == inner).sum() == sizes[inner]


def test_a_text_is_scored_the_same_whatever_its_own_group_holds():
    data, _ = planted(0, texts=90, concepts=3)
    found = cross_fitted_scores(data, by_mean)
    # Moving a fold's labels changes the directions of the other folds only.
    fold = group_folds(data.groups, 5)
    positive = torch.where((fold == 2)[:, None], ~data.positive, data.positive)
    changed = cross_fitted_scores(LabelledActivations(data.activations, positive, ~positive, data.groups), by_mean)
    assert torch.equal(found[:, fold == 2], changed[:, fold == 2])
    assert not torch.equal(found[:, fold == 1], changed[:, fold == 1])


def test_scores_are_those_of_a_loop_over_folds():
    data, _ = planted(1, texts=60, concepts=3, layers=2)
    found = cross_fitted_scores(data, by_mean, n_folds=3, seed=4)
    fold = group_folds(data.groups, 3, 4)
    for text in (0, 17, 59):
        kept = data.take(fold != fold[text])
        directions = by_mean(kept)
        for layer in range(2):
            for concept in range(3):
                known = kept.activations[:, layer] @ directions[concept, layer]
                score = data.activations[text, layer] @ directions[concept, layer]
                expected = (score - known.mean()) / known.std()
                assert found[layer, text, concept] == pytest.approx(float(expected), abs=1e-4)


def test_planted_concepts_are_separated_and_shuffled_ones_are_not():
    data, _ = planted(0, strength=3.0)
    found = cross_fitted_scores(data, by_mean)[0]
    assert (auroc(found, data.positive, data.negative) > 0.85).all()
    row = permuted_texts(data.groups, torch.Generator().manual_seed(0), 1)[0]
    shuffled = LabelledActivations(data.activations, data.positive[row], data.negative[row], data.groups)
    found = cross_fitted_scores(shuffled, by_mean)[0]
    assert abs(float(auroc(found, shuffled.positive, shuffled.negative).mean()) - 0.5) < 0.05


def test_a_concept_whose_positives_are_all_in_one_fold_has_no_score_there():
    data, _ = planted(0, texts=60, concepts=3)
    positive = data.positive.clone()
    positive[:, 1] = data.groups == 4
    found = cross_fitted_scores(LabelledActivations(data.activations, positive, ~positive, data.groups), by_mean)
    fold = group_folds(data.groups, 5)
    assert found[0, :, 1].isnan().equal(fold == fold[12])
    assert found[0, :, [0, 2]].isfinite().all()


def test_one_group_cannot_be_cross_fitted():
    with pytest.raises(FitError, match="one group"):
        cross_fitted_scores(labelled([3, 3, 3, 3]), by_mean)


def test_halves_agree_where_the_concept_is_real_and_only_there():
    data, _ = planted(0, strength=4.0)
    noise, _ = planted(0, strength=0.0)
    assert (split_half_cosine(data, by_mean) > 0.7).all()
    assert (split_half_cosine(noise, by_mean).abs() < 0.5).all()
    lonely = data.positive.clone()
    lonely[:, 2] = data.groups == 0
    found = split_half_cosine(LabelledActivations(data.activations, lonely, ~lonely, data.groups), by_mean)
    assert found[2].isnan().all()
