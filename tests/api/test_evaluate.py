"""A readout on texts from elsewhere: what it is judged beside, and which texts count."""

import json
from dataclasses import replace

import pytest
import torch

from amygdala_tl import Corpus, capture, evaluate, fit, judge
from amygdala_tl.api.evaluate import passages
from amygdala_tl.api.judge import with_verdicts
from amygdala_tl.corpus.build import build_corpus
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.corpus.loader import read_texts
from amygdala_tl.errors import InputError
from amygdala_tl.memory.graph_file import read_graph_file
from amygdala_tl.records import CorpusText

SHORT = CorpusText("a", "a", "one token", "heldout", {}, ("joy",), ("grief", "calm"))


@pytest.fixture(scope="module")
def corpus(some_graph):
    return build_corpus(
        read_graph_file(some_graph), LabelRules(emotions=("calm", "grief", "joy"), heldout_fraction=0.2)
    )


@pytest.fixture(scope="module")
def store(corpus, tiny, tmp_path_factory):
    return capture(corpus, tiny, tmp_path_factory.mktemp("store"), layers=[1, 2], chat_template="none")[0]


@pytest.fixture(scope="module")
def fitted(corpus, store):
    return fit(corpus, store, aggregator="mean")


@pytest.mark.parametrize("aggregator", ["mean", "whitened"])
def test_held_out_texts_given_as_other_texts_have_the_scores_and_baselines_of_the_diagnosis(
    corpus, store, tiny, aggregator
):
    fitted = fit(corpus, store, aggregator=aggregator)
    found = evaluate(fitted, corpus, tiny, corpus=corpus, store=store)
    own = judge(fitted, corpus, store, tiny).held_out
    assert torch.allclose(found.embedding, own.embedding, atol=1e-3)
    assert torch.allclose(found.bag_of_words, own.bag_of_words, atol=1e-9)
    assert found.embedding.isfinite().all()
    same = found.reading_layer == own.reading_layer
    assert torch.allclose(found.auroc.value[same], own.auroc.value[same], atol=1e-3)


def test_a_text_that_is_nothing_but_a_sink_does_not_count_and_is_told(corpus, tiny, fitted):
    plain = evaluate(fitted, corpus, tiny)
    more = evaluate(fitted, replace(corpus, texts=(*corpus.texts, SHORT)), tiny)
    assert torch.equal(more.n_positive, plain.n_positive)
    assert torch.allclose(more.auroc.value, plain.auroc.value)
    assert "without 1 that" in more.data
    assert "cannot be read" not in plain.data


def test_texts_of_one_token_only_are_refused(corpus, tiny, fitted):
    with pytest.raises(InputError, match="too short to read"):
        evaluate(fitted, replace(corpus, texts=(SHORT,)), tiny)


def test_labels_are_found_however_a_bundle_spells_its_concepts(corpus, tiny, fitted):
    names = tuple(concept.title() for concept in fitted.concepts)
    spelt = replace(fitted, concepts=names)
    data = corpus
    found = evaluate(spelt, data, tiny)
    assert found.concepts == names
    assert found.n_positive.tolist() == evaluate(fitted, data, tiny).n_positive.tolist()


def test_passages_leave_out_what_has_no_score(tiny, fitted, tmp_path):
    (tmp_path / "page.txt").write_text("a\nThe lamp went out.\nBread on the table.")
    told = []
    for found in passages(fitted, tmp_path / "page.txt", tiny, progress=lambda *state: told.append(state)):
        shown = {text for _, text in (*found.top, *found.bottom)}
        assert shown == {"The lamp went out.", "Bread on the table."}
    assert told[-1] == (3, 3)


def test_a_corpus_without_its_activations_is_refused(corpus, store, tiny, fitted):
    for half in ({"corpus": corpus}, {"store": store}):
        with pytest.raises(InputError, match="go together"):
            evaluate(fitted, corpus, tiny, **half)


def test_labels_that_the_readout_lacks_are_named_and_their_texts_are_negatives_of_nothing(tiny, fitted, tmp_path):
    names = ["joy", "grief", "happiness", ""]
    rows = [
        f"Day {chr(97 + i)}{chr(102 + i)}: what the {i * 'very '}quiet boat number {i} brought us.\t{names[i % 4]}"
        for i in range(24)
    ]
    (tmp_path / "other.tsv").write_text("text\temotion\n" + "\n".join(rows))
    data = read_texts(tmp_path / "other.tsv", among=("joy", "grief", "calm"))
    assert any("labels that the readout lacks: happiness (6)" in notice for notice in data.notices)
    found = evaluate(fitted, tmp_path / "other.tsv", tiny)
    assert found.concepts == ("grief", "joy")
    assert found.n_positive.tolist() == [6, 6]
    assert found.n_negative.tolist() == [6, 6]
    assert "6 without a label" in found.data
    assert "6 with only labels that the readout lacks" in found.data


def test_texts_from_elsewhere_say_whether_the_readout_transfers_and_its_own_do_not(corpus, store, tiny, fitted):
    judged = with_verdicts(fitted, judge(fitted, corpus, store))
    texts = [text for text in corpus.texts if not text.neutral]
    elsewhere = Corpus.from_texts(
        [f"Again: {text.text}" for text in texts],
        [list(text.positive) for text in texts],
        groups=[text.group for text in texts],
        concepts=corpus.concepts,
    )
    found = evaluate(judged, elsewhere, tiny)
    assert found.at_home.tolist() == pytest.approx([judged.verdicts[name].auroc for name in found.concepts])
    assert len(found.transfer.verdict) == len(found.concepts)
    assert found.transfer.trained_there.isfinite().all()
    assert evaluate(judged, corpus, tiny).transfer is None


def test_a_transfer_needs_no_groups_and_no_verdicts_but_then_says_nothing(corpus, tiny, fitted, tmp_path):
    texts = [text for text in corpus.texts if not text.neutral][:30]
    rows = [{"text": text.text, "positive": text.positive, "negative": text.negative, "group": "one"} for text in texts]
    (tmp_path / "one.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = evaluate(fitted, tmp_path / "one.jsonl", tiny)
    assert found.transfer.trained_there.isnan().all()
    assert set(found.transfer.verdict) == {"undecided"}
