"""Texts that the model cannot run: left out, counted and named, at every stage, and in no other text's way."""

import dataclasses

import pytest
import torch
from tokenizers import normalizers

from amygdala_tl import Corpus, capture, evaluate, fit, judge, score, train, wrap
from amygdala_tl.activations.capture import capture_texts
from amygdala_tl.activations.runner import pool_texts
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.evaluate import passages
from amygdala_tl.api.labelled import read_parts
from amygdala_tl.api.score import score_tokens
from amygdala_tl.errors import ModelError
from amygdala_tl.lens.weights import token_embeddings
from amygdala_tl.records import CaptureSettings, CorpusText
from amygdala_tl.report.summaries import capture_line
from tests.lens.made_tokenizers import made
from tests.models import tiny_model

BLANK, NAN, UNKNOWN = "\u2063", "a loud room", "zzz"
BROKEN = {BLANK: "no token", NAN: "not finite", UNKNOWN: "does not know"}
LAYERS = [1, 3]


@pytest.fixture(scope="module")
def lens():
    """A model without an embedding for `zzz`, and with NaN behind `loud`."""
    tokenizer = made(normalizer=normalizers.Replace(BLANK, ""))
    tokenizer.add_tokens(UNKNOWN)
    lens = wrap(tiny_model("llama", vocab_size=len(tokenizer) - 1), tokenizer)
    with torch.no_grad():
        lens.model.W_E[tokenizer(" loud").input_ids[0]] = torch.nan
    return lens


@pytest.fixture(scope="module")
def corpus():
    happy, sad = (
        [
            f"I {verb} {word} and {more} {when}."
            for verb in ("was", "feel")
            for more in ("calm", "long")
            for when in range(6)
        ]
        for word, verb in (("happy", "felt"), ("sad", "had"))
    )
    texts = [*happy, *sad, *BROKEN]
    labels = ["joy"] * len(happy) + ["grief"] * len(sad) + [["joy"]] * len(BROKEN)
    groups = [str(index % 12) for index in range(len(texts))]
    return Corpus.from_texts(texts, labels, groups=groups, min_examples=5, heldout_fraction=0.2)


@pytest.fixture(scope="module")
def captured(corpus, lens, tmp_path_factory):
    return capture(corpus, lens, tmp_path_factory.mktemp("store"), layers=LAYERS, chat_template="none")


@pytest.fixture(scope="module")
def readout(corpus, captured):
    return fit(corpus, captured[0], aggregator="mean", min_examples=5)


def test_capture_names_them_with_reasons_and_runs_the_others(corpus, captured):
    _, summary = captured
    assert summary.texts == len(corpus.texts)
    assert summary.texts_run == len(corpus.texts) - 2  # NaN shows only once it has run
    assert {text.text for text in summary.left_out} == {*BROKEN}
    for text in summary.left_out:
        assert BROKEN[text.text] in text.reason
    said = capture_line(summary).plain
    assert "3 texts cannot be run" in said
    assert repr(NAN) in said


def test_the_store_remembers_them_and_runs_none_twice(corpus, lens, captured):
    store, first = captured
    _, again = capture(corpus, lens, store.folder.parent, layers=LAYERS, chat_template="none")
    assert again.texts_run == 0
    assert again.left_out == first.left_out
    ids = [text.id for text in corpus.texts]
    reopened = ActivationStore.find(store.folder)
    assert reopened.layers_of(ids) == tuple(LAYERS)
    broken = torch.tensor([text.text in BROKEN for text in corpus.texts])
    assert torch.equal(reopened.load(ids, LAYERS, "pooled").isnan().all(dim=(1, 2)), broken)


def test_a_readout_is_that_of_the_corpus_without_them(corpus, lens, captured, readout, tmp_path):
    kept = dataclasses.replace(corpus, texts=tuple(text for text in corpus.texts if text.text not in BROKEN))
    alone = fit(
        kept, capture(kept, lens, tmp_path, layers=LAYERS, chat_template="none")[0], aggregator="mean", min_examples=5
    )
    torch.testing.assert_close(readout.vectors, alone.vectors)
    for name in ("text_calibration", "token_calibration"):
        torch.testing.assert_close(getattr(readout, name).mean, getattr(alone, name).mean)
        assert getattr(readout, name).n == getattr(alone, name).n
    assert readout.provenance.counts == alone.provenance.counts
    assert readout.provenance.corpus_sha256 == corpus.sha256
    trained = train(
        corpus, lens, layers=LAYERS, aggregator="whitened", min_examples=5, chat_template="none", verdicts=False
    )
    assert trained.vectors.isfinite().all()


def test_a_readout_is_judged_on_the_others(corpus, lens, captured, readout):
    found = judge(readout, corpus, captured[0], lens)
    assert found.evaluation.auroc.value.isfinite().all()
    broken = {text.id: text.split for text in corpus.texts if text.text in BROKEN}
    assert set(broken.values()) == {"train", "heldout"}
    assert broken.keys().isdisjoint(text.id for text in found.texts)


def test_scores_of_them_are_nan_and_of_the_others_what_they_are_alone(lens, readout):
    texts = ["I was happy.", *BROKEN, "I was sad."]
    for calibrated in (False, True):
        scores = score(texts, readout, lens, calibrated=calibrated)
        assert scores.isnan().all(dim=(1, 2)).tolist() == [False, True, True, True, False]
        torch.testing.assert_close(scores[[0, 4]], score([texts[0], texts[4]], readout, lens, calibrated=calibrated))
    for text, found in zip(texts, score_tokens(texts, readout, lens), strict=True):
        assert "".join(found.pieces) == text
        assert found.scores.isnan().all() == (text in BROKEN)


def test_other_texts_are_evaluated_without_them_and_that_is_said(corpus, lens, readout):
    data = dataclasses.replace(corpus, sha256="of other texts")
    found = evaluate(readout, data, lens)
    alone = evaluate(
        readout, dataclasses.replace(data, texts=tuple(t for t in data.texts if t.text not in BROKEN)), lens
    )
    assert torch.equal(found.n_positive, alone.n_positive)
    assert "without 3 that cannot be read" in found.data
    for passage in passages(readout, data, lens, most=100):
        assert not {text for _, text in (*passage.top, *passage.bottom)} & {*BROKEN}


def test_a_corpus_of_nothing_else_is_one_message_and_nothing_is_remembered(lens, tmp_path):
    store = ActivationStore.for_model(tmp_path, lens.info, CaptureSettings())
    with pytest.raises(ModelError, match=r"no text can be run.*does not know"):
        capture_texts(lens, {"a": UNKNOWN, "b": BLANK}, LAYERS, store)
    assert not ActivationStore.for_model(tmp_path, lens.info, CaptureSettings()).left_out


def test_the_embeddings_of_them_are_nan_too(lens):
    from amygdala_tl.activations.embedding import mean_embeddings

    found = mean_embeddings(lens, ["I was happy.", UNKNOWN], CaptureSettings())
    assert found.isnan().all(dim=(1, 2)).tolist() == [False, True]
    own = lens.tokenizer("I was happy.").input_ids
    torch.testing.assert_close(found[0, 0], token_embeddings(lens)[own].mean(dim=0))


def test_baselines_of_words_read_no_more_of_a_text_than_the_model_or_a_little(readout):
    long, short = (CorpusText("", text, "", "train", {}, (), ()) for text in ("I was happy. " * 10_000, "I was sad."))
    (part, whole) = read_parts([long, short], readout)
    assert whole == short.text
    assert long.text.startswith(part)
    assert 4 * readout.provenance.capture.max_tokens < len(part) < len(long.text) / 4


@pytest.mark.parametrize("context", [24, 64])
def test_a_short_context_is_filled_and_not_passed(lens, context):
    small = dataclasses.replace(lens, info=dataclasses.replace(lens.info, n_ctx=context))
    for role in ("none", "user"):
        settings = CaptureSettings(role)
        cut, counts = pool_texts(small, ["I was happy. " * 40], LAYERS, "pooled", settings)
        one, _ = pool_texts(small, ["I"], LAYERS, "pooled", settings)
        assert (counts > 0).all()
        assert not torch.allclose(cut, one)
