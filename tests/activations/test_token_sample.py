"""The sample of tokens: who is drawn, what it stands for, and calibrations like those of all tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl import Corpus, capture, fit
from amygdala_tl.activations.capture import capture_texts
from amygdala_tl.activations.runner import run_batches, tokenize_for
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.activations.token_sample import TOKENS_PER_CORPUS, draw_tokens, tokens_per_text
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.memory.graph_file import read_graph_file
from amygdala_tl.readout.calibration import calibrate, calibrate_tokens, token_quantiles
from amygdala_tl.records import CaptureSettings
from tests.activations.old_store import as_before

TEXTS = {f"id{index}": f"Note {index}: the tide came in {'and out ' * (3 * index)}again." for index in range(12)}
SETTINGS = CaptureSettings()


def exact_scores(lens, texts, layers, vectors):
    """Scores [token, layer, concept] of all readable tokens, NaN at layers where a token is not readable."""
    scores = []
    for batch in run_batches(lens, tokenize_for(lens, texts, SETTINGS), layers):
        found = torch.einsum("xtld,lcd->xtlc", batch.residuals.double(), vectors.double())
        scores.append(found.masked_fill(~batch.readable[..., None], torch.nan).flatten(0, 1))
    return torch.cat(scores)


def moments(scores):
    """Mean and standard deviation [layer, concept], without NaN."""
    mean = scores.nanmean(dim=0)
    return mean, (scores - mean).square().nanmean(dim=0).sqrt()


@given(
    content=st.lists(st.booleans(), max_size=200),
    per_text=st.floats(0.0, 300.0, exclude_min=True),
    name=st.text(max_size=9),
)
def test_a_text_gives_its_own_tokens_each_once_and_never_the_first(content, per_text, name):
    drawn = draw_tokens(name, content, per_text)
    assert drawn == sorted(set(drawn))
    assert all(content[token] and token > 0 for token in drawn)
    own = sum(content[1:])
    assert min(int(per_text), own) <= len(drawn) <= min(int(per_text) + 1, own)


@pytest.mark.parametrize("n_texts", [1, 1000, 60_000])
def test_a_corpus_gives_about_as_many_tokens_as_it_should_and_every_token_has_the_same_chance(n_texts):
    per_text, content = tokens_per_text(n_texts), [True] * 41
    drawn = [draw_tokens(f"{text}", content, per_text) for text in range(n_texts)]
    n = sum(map(len, drawn))
    assert n == pytest.approx(min(TOKENS_PER_CORPUS, 40 * n_texts), rel=0.02)
    if n_texts >= 1000:
        chance = torch.bincount(torch.tensor([token for tokens in drawn for token in tokens]), minlength=41)[1:] / n
        assert (chance * 40 - 1).abs().max() < 6 * (40 / n) ** 0.5


def test_the_sample_depends_on_no_batch_and_no_order(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("amygdala_tl.activations.token_sample.TOKENS_PER_CORPUS", 100)
    found = []
    for name, texts, batch_size in (("one", TEXTS, None), ("other", dict(reversed(TEXTS.items())), 3)):
        store = ActivationStore.for_model(tmp_path / name, tiny.info, SETTINGS)
        capture_texts(tiny, texts, [1, 3], store, batch_size=batch_size)
        parts = list(store.tokens(TEXTS, [3]))
        found.append(torch.cat([torch.cat((part.weights[:, None], part.tokens), dim=1) for part in parts]))
    token_count = sum(part.count for part in store.tokens(TEXTS, [3]))
    one, other = (values[values[:, 1].argsort()] for values in found)
    torch.testing.assert_close(one, other)
    assert len(one) < token_count


def test_weights_are_the_tokens_that_each_stands_for(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("amygdala_tl.activations.token_sample.TOKENS_PER_CORPUS", 100)
    store = ActivationStore.for_model(tmp_path, tiny.info, SETTINGS)
    capture_texts(tiny, TEXTS, [1, 3], store)
    vectors = torch.ones(1, 1, 64)
    for text, words in TEXTS.items():
        (part,) = store.tokens([text], [3])
        own = exact_scores(tiny, [words], [3], vectors)[:, 0, 0]
        assert part.count == int((~own.isnan()).sum()) == pytest.approx(float(part.weights.sum()))
        assert set(part.weights.tolist()) == {part.count / len(part.tokens)}
    assert sum(part.count for part in store.tokens(TEXTS, [3])) == calibrate_tokens(store.tokens(TEXTS, [3]), vectors).n


def test_texts_count_for_those_that_gave_no_token(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("amygdala_tl.activations.token_sample.TOKENS_PER_CORPUS", 6)
    store = ActivationStore.for_model(tmp_path, tiny.info, SETTINGS)
    capture_texts(tiny, TEXTS, [1], store)
    (part,) = store.tokens(TEXTS, [1])
    assert 0 < len(part.tokens) < len(TEXTS)
    own = exact_scores(tiny, list(TEXTS.values()), [1], torch.ones(1, 1, 64))
    assert part.count == int((~own.isnan()).sum())
    assert (part.weights % 2 == 0).all()  # the text's own tokens, and those of another


def test_calibrations_are_within_two_percent_of_those_of_all_tokens(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("amygdala_tl.activations.token_sample.TOKENS_PER_CORPUS", 8_192)
    texts = {node.key: node.content for node in read_graph_file(demo_graph_path())[::2]}
    store = ActivationStore.for_model(tmp_path, tiny.info, SETTINGS)
    capture_texts(tiny, texts, [1], store)
    vectors = torch.nn.functional.normalize(torch.randn(1, 8, 64, generator=torch.manual_seed(0)), dim=-1)
    scores = exact_scores(tiny, list(texts.values()), [1], vectors)
    mean, std = moments(scores)
    found = calibrate_tokens(store.tokens(texts, [1]), vectors)
    assert sum(len(part.tokens) for part in store.tokens(texts, [1])) < found.n / 2
    assert ((found.mean - mean).abs() / std).max() < 0.02
    assert (found.std / std - 1).abs().max() < 0.02
    levels = [0.05, 0.5, 0.95]
    exact = scores.nanquantile(torch.tensor(levels).double(), dim=0)
    quantiles = token_quantiles(store.tokens(texts, [1]), vectors, levels)
    assert ((quantiles - exact).abs() / std).max() < 0.1


def test_a_store_of_an_earlier_version_is_fitted_from_with_the_same_result(tmp_path, tiny):
    texts = [f"I was {word} {when} and {'then ' * when} so." for when in range(12) for word in ("happy", "sad")]
    corpus = Corpus.from_texts(texts, [["joy"], ["grief"]] * 12, min_examples=5)
    store, _ = capture(corpus, tiny, tmp_path, layers=[1, 3], chat_template="none")
    new = fit(corpus, store, aggregator="whitened")
    old_store = as_before(store, tiny, {text.id: text.text for text in corpus.texts})
    assert all(shard.per_text is None for shard in old_store._shards)
    old = fit(corpus, old_store, aggregator="whitened")
    torch.testing.assert_close(old.vectors, new.vectors)
    mean, std = moments(exact_scores(tiny, [text.text for text in corpus.texts], [1, 3], new.vectors))
    torch.testing.assert_close(old.token_calibration.mean, mean.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(old.token_calibration.std, std.float(), rtol=1e-4, atol=1e-5)
    _, summary = capture(corpus, tiny, tmp_path, layers=[1, 2, 3], chat_template="none")
    assert summary.texts_run == len(texts)
    both = ActivationStore.find(old_store.folder)
    assert both.layers_of([text.id for text in corpus.texts]) == (1, 2, 3)
    assert fit(corpus, both, layers=[1, 2]).vectors.isfinite().all()


def test_layers_may_be_captured_one_after_another(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("amygdala_tl.activations.token_sample.TOKENS_PER_CORPUS", 30)
    vectors = torch.randn(3, 2, tiny.info.d_model, generator=torch.Generator().manual_seed(0))
    ids, found = list(TEXTS), []
    for name, calls in (("at once", [(0, 1, 2)]), ("later", [(1,), (2,), (0,)])):
        store = ActivationStore.for_model(tmp_path / name, tiny.info, SETTINGS)
        for layers in calls:
            capture_texts(tiny, TEXTS, layers, store)
        parts = [part for _, part in store.batches(ids, (0, 1, 2), "pooled")]
        found.append(calibrate(parts, store.tokens(ids, (0, 1, 2)), None, vectors)[1])
    assert found[1] is not None
    for one, other in zip(*((each.scale.tokens.mean, each.scale.tokens.std) for each in found), strict=True):
        torch.testing.assert_close(one, other)
    # More texts give fewer tokens each: which of them are the same is not known.
    store = ActivationStore.for_model(tmp_path / "more", tiny.info, SETTINGS)
    capture_texts(tiny, TEXTS, (0,), store)
    capture_texts(tiny, {**TEXTS, "new": "A new note about the tide."}, (1,), store)
    names = [part.names for part in store.tokens(ids, (0, 1))]
    assert not torch.isin(names[0], torch.cat(names[1:])).any()
