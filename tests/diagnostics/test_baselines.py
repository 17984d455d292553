"""The bag of words learns words, and nothing from the texts it scores."""

import torch

from amygdala_tl.diagnostics import baselines
from amygdala_tl.diagnostics.baselines import bag_of_words_scores, cross_fitted_bag_of_words
from amygdala_tl.directions.auroc import auroc

JOY = ["the sun made me laugh", "laugh and sing in the sun", "sing with me my friend", "we laugh and sing"]
GRIEF = ["the rain fell on the grave", "tears fell like rain", "the grave was cold", "cold tears on the grave"]


def labels(n=4):
    joy = torch.tensor([True] * n + [False] * n)
    return torch.stack([joy, ~joy], dim=1)


def test_words_of_the_training_texts_separate_new_texts():
    positive = labels()
    found = bag_of_words_scores(JOY + GRIEF, positive, ~positive, ["we sing in the sun", "cold rain on a grave"])
    truth = torch.tensor([[True, False], [False, True]])
    assert auroc(found, truth, ~truth).tolist() == [1.0, 1.0]


def test_a_text_is_scored_the_same_whatever_is_scored_with_it():
    positive = labels()
    alone = bag_of_words_scores(JOY + GRIEF, positive, ~positive, ["we sing in the sun"])
    together = bag_of_words_scores(JOY + GRIEF, positive, ~positive, ["we sing in the sun", "sun sun sun", "rain"])
    assert torch.allclose(alone[0], together[0])


def test_texts_of_neither_class_do_not_teach():
    positive = labels()
    negative = ~positive
    neither = positive.new_zeros(8)
    neither[3] = True
    expected = bag_of_words_scores(JOY + GRIEF, positive & ~neither[:, None], negative & ~neither[:, None], ["we sing"])
    misleading = positive.clone()
    misleading[3] = False
    found = bag_of_words_scores(JOY + GRIEF, misleading, negative & ~neither[:, None], ["we sing"])
    assert torch.equal(found, expected)


def test_a_concept_without_both_classes_and_texts_without_words_have_no_score():
    positive = labels()
    negative = ~positive
    negative[:, 1] = False
    found = bag_of_words_scores(JOY + GRIEF, positive, negative, ["we sing"])
    assert found.isnan().tolist() == [[False, True]]
    assert bag_of_words_scores(["!", "?"], labels(1), ~labels(1), ["we sing"]).isnan().all()
    assert bag_of_words_scores(JOY + GRIEF, positive, negative, []).shape == (0, 2)


def test_fits_in_several_processes_give_the_same_scores(monkeypatch):
    texts = [f"{'rain' if row % 3 else 'sun'} word{row % 7} word{row % 11}" for row in range(60)]
    positive = torch.stack([torch.arange(60) % step == 0 for step in (2, 3, 5, 100)], dim=1)
    folds = torch.arange(60) // 30
    alone = cross_fitted_bag_of_words(texts, positive, ~positive, folds, texts[:9])
    monkeypatch.setattr(baselines, "MANY_NUMBERS", 0)
    together = cross_fitted_bag_of_words(texts, positive, ~positive, folds, texts[:9])
    assert torch.equal(alone.nan_to_num(nan=7.0), together.nan_to_num(nan=7.0))
    assert alone[:, :3].isfinite().all()
    assert torch.equal(alone[60:], bag_of_words_scores(texts, positive, ~positive, texts[:9]))
