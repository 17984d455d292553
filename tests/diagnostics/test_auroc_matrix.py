"""AUROC of every readout on every label, and average precision, beside scikit-learn's."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from amygdala_tl.diagnostics.auroc_matrix import auroc_matrix
from amygdala_tl.diagnostics.average_precision import average_precision
from amygdala_tl.directions.auroc import auroc

SEEDS = st.integers(0, 10_000)


def problem(seed, levels=1000, texts=50, readouts=3, labels=4):
    """Scores with ties where `levels` are few; labels with texts that are neither."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, levels, (texts, readouts), generator=generator).double() / 7
    label = torch.randint(-1, 2, (texts, labels), generator=generator)
    label[0], label[1] = 1, -1
    return scores, label == 1, label == -1


@given(SEEDS, st.sampled_from([1, 2, 5, 10**6]))
@settings(max_examples=40)
def test_every_pair_equals_scikit_learn_with_ties_and_with_texts_of_neither_class(seed, levels):
    scores, positive, negative = problem(seed, levels)
    found = auroc_matrix(scores, positive, negative)
    for readout in range(scores.shape[1]):
        for label in range(positive.shape[1]):
            known = positive[:, label] | negative[:, label]
            expected = roc_auc_score(positive[known, label], scores[known, readout])
            assert abs(float(found[readout, label]) - expected) < 1e-9


def test_it_stays_exact_where_a_float32_sum_of_wins_does_not():
    scores, positive, negative = problem(0, levels=500, texts=12_000, readouts=1, labels=2)
    found = auroc_matrix(scores.float(), positive, negative)
    for label in range(2):
        known = positive[:, label] | negative[:, label]
        expected = roc_auc_score(positive[known, label], scores[known, 0])
        assert abs(float(found[0, label]) - expected) < 1e-9


def test_hundreds_of_readouts_some_with_ties_are_as_each_alone():
    scores, positive, negative = problem(0, levels=2000, readouts=400)
    tied = (scores.sort(dim=0).values.diff(dim=0) == 0).any(dim=0)
    assert 0.1 < tied.double().mean() < 0.9
    alone = torch.cat([auroc_matrix(scores[:, [readout]], positive, negative) for readout in range(400)])
    assert torch.equal(auroc_matrix(scores, positive, negative), alone)


@given(SEEDS, st.sampled_from([3, 10**6]))
def test_its_diagonal_is_the_auroc_of_concepts_on_their_own_labels(seed, levels):
    scores, positive, negative = problem(seed, levels, readouts=4)
    assert torch.allclose(auroc_matrix(scores, positive, negative).diagonal(), auroc(scores, positive, negative))


@given(SEEDS, st.sampled_from([3, 10**6]))
def test_it_does_not_change_under_increasing_maps_and_turns_round_with_the_sign(seed, levels):
    scores, positive, negative = problem(seed, levels)
    found = auroc_matrix(scores, positive, negative)
    assert torch.equal(auroc_matrix((scores / 1e5).exp(), positive, negative), found)
    assert torch.allclose(auroc_matrix(-scores, positive, negative), 1 - found, atol=1e-12)
    assert torch.allclose(auroc_matrix(scores, negative, positive), 1 - found, atol=1e-12)


@given(SEEDS)
def test_the_order_of_texts_readouts_and_labels_does_not_matter(seed):
    scores, positive, negative = problem(seed, levels=20)
    generator = torch.Generator().manual_seed(seed)
    text, readout, label = (torch.randperm(size, generator=generator) for size in (50, 3, 4))
    found = auroc_matrix(scores[text][:, readout], positive[text][:, label], negative[text][:, label])
    assert torch.allclose(found, auroc_matrix(scores, positive, negative)[readout][:, label], atol=1e-12)


def test_a_label_without_both_classes_and_a_readout_that_is_not_known_have_none():
    scores, positive, negative = problem(1)
    negative[:, 2] = False
    scores[5, 0] = torch.nan
    found = auroc_matrix(scores, positive, negative)
    assert found[0].isnan().all()
    assert found[1].isnan().tolist() == [False, False, True, False]


@given(SEEDS, st.sampled_from([1, 2, 5, 10**6]))
@settings(max_examples=40)
def test_average_precision_equals_scikit_learn_with_ties(seed, levels):
    scores, positive, negative = problem(seed, levels, readouts=4)
    found = average_precision(scores, positive, negative)
    for concept in range(4):
        known = positive[:, concept] | negative[:, concept]
        expected = average_precision_score(positive[known, concept], scores[known, concept])
        assert abs(float(found[concept]) - expected) < 1e-9


@given(SEEDS)
@settings(max_examples=30)
def test_average_precision_does_not_change_under_increasing_maps(seed):
    scores, positive, negative = problem(seed, levels=20, readouts=4)
    expected = average_precision(scores, positive, negative)
    assert torch.allclose(average_precision(scores**3 + scores, positive, negative), expected)


def test_average_precision_needs_both_classes():
    scores, positive, negative = problem(1, readouts=4)
    negative[:, 0], positive[:, 1] = False, False
    assert average_precision(scores, positive, negative).isnan().tolist() == [True, True, False, False]
