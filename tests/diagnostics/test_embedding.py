"""The baseline of mean embeddings holds parts of a corpus only, and scores as all texts at once would."""

import pytest
import torch

from amygdala_tl.activations import embedding as embeddings
from amygdala_tl.diagnostics import embedding
from amygdala_tl.diagnostics.embedding import embedding_scores
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.method import Method, parse_method
from amygdala_tl.records import CaptureSettings
from tests.largest import LargestTensor

D_MODEL, TEXTS, PART = 24, 600, 50


@pytest.mark.parametrize("aggregator", ["mean", "whitened"])
def test_a_fit_on_embeddings_takes_parts_and_gives_the_scores_of_all_texts_at_once(aggregator, monkeypatch):
    draws = torch.Generator().manual_seed(0)
    positive = torch.rand(TEXTS, 2, generator=draws) > 0.5
    values = torch.randn(TEXTS, 1, D_MODEL, generator=draws)
    values[:, 0, :2] += positive.float()
    known = LabelledActivations(values, positive, ~positive, torch.arange(TEXTS) // 2)
    unseen = torch.randn(30, 1, D_MODEL, generator=draws)
    monkeypatch.setattr(embedding, "PART_TEXTS", PART)
    method = parse_method(aggregator, "")
    with LargestTensor(D_MODEL) as parts:
        found = embedding_scores(method, known, values, unseen)
    monkeypatch.setattr(Method, "streamable", False)
    with LargestTensor(D_MODEL) as whole:
        expected = embedding_scores(method, known, values, unseen)
    assert parts.most < TEXTS <= whole.most
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_tokens_of_some_texts_are_held_at_once_and_change_no_embedding(tiny, monkeypatch):
    texts = [f"day {number} was warm" for number in range(20)]
    expected = embeddings.mean_embeddings(tiny, texts, CaptureSettings())
    calls, own = [], embeddings.tokenize_for

    def counting(loaded, some, settings):
        calls.append(len(some))
        return own(loaded, some, settings)

    monkeypatch.setattr(embeddings, "tokenize_for", counting)
    monkeypatch.setattr(embeddings, "AT_A_TIME", 7)
    assert torch.equal(embeddings.mean_embeddings(tiny, texts, CaptureSettings()), expected)
    assert calls == [7, 7, 6]
