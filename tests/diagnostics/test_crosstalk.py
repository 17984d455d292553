"""Cross-talk: what is close because it happens together, and what is close because it cannot be told apart."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import matthews_corrcoef

from amygdala_tl.diagnostics.auroc_matrix import auroc_matrix
from amygdala_tl.diagnostics.crosstalk import RIDGE, clusters, correlation, cross_talk, ridge_r_squared
from amygdala_tl.diagnostics.scored import ScoredTexts

NAMES = ("calm", "serene", "pride", "envy", "awe")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(rows):
    return torch.nn.functional.normalize(rows, dim=-1)


def world(seed=0, texts=900, together=0.0, twins=True, d_model=24, strength=2.5):
    """calm and serene share a direction and not their labels; pride and envy share `together` of their labels."""
    generator = seeded(seed)
    positive = torch.rand(texts, 5, generator=generator) < 0.15
    copied = torch.rand(texts, generator=generator) < together
    positive[:, 3] = torch.where(copied, positive[:, 2], positive[:, 3])
    directions = unit(torch.randn(5, d_model, generator=generator))
    if twins:
        directions[1] = unit(directions[0] + 0.1 * directions[1])
    activations = torch.randn(texts, d_model, generator=generator) + strength * positive.float() @ directions
    groups = torch.arange(texts) // 3
    return directions, activations @ directions.T, positive, ~positive, groups


def talk(seed=0, **options):
    directions, *rest = world(seed, **options)
    return cross_talk(NAMES, 7, directions, ScoredTexts(*rest), seeded())


def warned(found):
    return {(warning.first, warning.second): warning for warning in found.warnings}


@pytest.mark.parametrize("seed", range(5))
def test_a_near_duplicate_cannot_be_told_apart(seed):
    warning = warned(talk(seed))["calm", "serene"]
    assert warning.finding == "cannot be told apart"
    assert warning.cosine > 0.9
    assert warning.contrast[0] < 0.6
    assert abs(warning.label_correlation) < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_two_distinct_concepts_that_co_occur_happen_together(seed):
    warning = warned(talk(seed, together=0.7))["pride", "envy"]
    assert warning.finding == "happen together"
    assert warning.contrast[1] > 0.5
    assert warning.label_correlation > 0.5


def test_concepts_that_are_neither_close_nor_together_are_not_warned_of():
    assert talk(twins=False, d_model=200).warnings == ()


def test_labels_that_are_always_the_same_leave_nothing_to_contrast():
    directions, scores, positive, negative, groups = world()
    positive[:, 1], negative[:, 1] = positive[:, 0], negative[:, 0]
    texts = ScoredTexts(scores, positive, negative, groups)
    warning = warned(cross_talk(NAMES, 7, directions, texts, seeded()))["calm", "serene"]
    assert warning.finding == "close readouts"
    assert (warning.n_first_only, warning.n_second_only) == (0, 0)
    assert all(number != number for number in warning.contrast)


def test_the_ends_of_one_axis_are_told_apart_and_still_warned_of():
    directions, *_ = world()
    directions[4] = -directions[2]
    positive = torch.zeros(900, 5, dtype=torch.bool)
    for concept in range(5):
        positive[concept::5, concept] = True
    activations = torch.randn(900, 24, generator=seeded(3)) + 2.5 * positive.float() @ directions
    texts = ScoredTexts(activations @ directions.T, positive, ~positive, torch.arange(900))
    found = cross_talk(NAMES, 7, directions, texts, seeded())
    warning = warned(found)["pride", "awe"]
    assert warning.finding == "opposite ends"
    assert warning.contrast[1] > 0.8
    assert found.cluster[2] == found.cluster[4]
    read = [name for name in NAMES if name != "awe"]
    rest = cross_talk(NAMES, 7, directions, texts, seeded(), read).warnings
    assert rest == tuple(each for each in found.warnings if "awe" not in (each.first, each.second))
    assert len(rest) < len(found.warnings)


def test_its_parts_are_the_oracles_numbers():
    directions, scores, positive, negative, groups = world()
    found = cross_talk(NAMES, 7, directions, ScoredTexts(scores, positive, negative, groups), seeded())
    assert torch.equal(found.auroc, auroc_matrix(scores, positive, negative))
    assert found.cosine.numpy() == pytest.approx((directions @ directions.T).numpy(), abs=1e-5)
    assert found.score_correlation.numpy() == pytest.approx(np.corrcoef(scores.T.numpy()), abs=1e-5)
    phi = matthews_corrcoef(positive[:, 0].numpy(), positive[:, 1].numpy())
    assert float(found.label_correlation[0, 1]) == pytest.approx(phi, abs=1e-9)
    assert found.n_positive.tolist() == positive.sum(dim=0).tolist()


@given(st.integers(0, 999), st.sampled_from([3, 8, 20]))
@settings(max_examples=25)
def test_redundancy_is_scikit_learns_ridge_of_each_direction_on_the_others(seed, d_model):
    directions = unit(torch.randn(6, d_model, generator=seeded(seed), dtype=torch.float64))
    found = ridge_r_squared(directions @ directions.T)
    for concept in range(6):
        others = directions[[other for other in range(6) if other != concept]].T.numpy()
        target = directions[concept].numpy()
        model = Ridge(alpha=RIDGE, fit_intercept=False).fit(others, target)
        residual = target - model.predict(others)
        assert float(found[concept]) == pytest.approx(1 - residual @ residual, abs=1e-6)


def test_orthogonal_directions_give_each_other_nothing_and_copies_almost_all():
    assert ridge_r_squared(torch.eye(4)).abs().max() < 1e-12
    copies = torch.eye(3)
    copies[0, 1] = copies[1, 0] = 1.0
    assert (ridge_r_squared(copies) > torch.tensor([0.98, 0.98, -1.0])).all()
    assert ridge_r_squared(copies)[2] < 1e-12


@given(st.integers(0, 999))
@settings(max_examples=20)
def test_redundancy_goes_with_its_concept_when_concepts_are_reordered(seed):
    directions = unit(torch.randn(5, 7, generator=seeded(seed), dtype=torch.float64))
    order = torch.randperm(5, generator=seeded(seed))
    cosine = directions @ directions.T
    assert torch.allclose(ridge_r_squared(cosine[order][:, order]), ridge_r_squared(cosine)[order])


def test_clusters_are_blocks_that_lie_together_in_the_order():
    block = torch.eye(6)
    for members in ((0, 3, 5), (1, 4)):
        for one in members:
            for other in members:
                block[one, other] = 1.0 if one == other else -0.8 if {one, other} == {1, 4} else 0.9
    cluster, order = clusters(block)
    assert cluster[0] == cluster[3] == cluster[5]
    assert cluster[1] == cluster[4]
    assert len(cluster.unique()) == 3
    along = [int(cluster[place]) for place in order]
    assert along == sorted(along)
    assert sorted(order) == list(range(6))


def test_one_concept_is_one_cluster():
    cluster, order = clusters(torch.ones(1, 1))
    assert (cluster.tolist(), order) == ([0], (0,))


def test_a_column_that_never_varies_has_no_correlation_and_a_cluster_of_its_own():
    values = torch.randn(30, 3, generator=seeded())
    values[:, 1] = 4.2
    found = correlation(values.double())
    assert found[1].isnan().all()
    assert not found[0, 2].isnan()
    cluster, _ = clusters(found)
    assert (cluster == cluster[1]).sum() == 1
