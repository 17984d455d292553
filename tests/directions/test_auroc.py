"""AUROC equals scikit-learn's, ties included."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from amygdala_tl.directions.auroc import auroc


@given(seed=st.integers(0, 10_000), levels=st.sampled_from([2, 5, 1000]))
def test_it_equals_scikit_learn_with_ties_and_with_texts_of_neither_class(seed, levels):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, levels, (60, 4), generator=generator).double()
    label = torch.randint(-1, 2, (60, 4), generator=generator)
    label[0], label[1] = 1, -1
    found = auroc(scores, label == 1, label == -1)
    for concept in range(4):
        known = label[:, concept] != 0
        expected = roc_auc_score(label[known, concept] == 1, scores[known, concept])
        assert abs(float(found[concept]) - expected) < 1e-9


def test_a_concept_without_both_classes_has_none():
    labels = torch.tensor([[True, False], [True, True]])
    found = auroc(torch.rand(2, 2), labels, ~labels)
    assert found.isnan().tolist() == [True, False]


def test_a_score_that_is_not_a_number_leaves_the_concept_without_a_value():
    scores = torch.tensor([[0.1, torch.nan], [0.2, 0.4], [0.3, 0.6]])
    labels = torch.tensor([[True, True], [False, False], [True, True]])
    assert auroc(scores, labels, ~labels).isnan().tolist() == [False, True]
