"""A readout on texts from elsewhere: what it is judged beside, and which texts count."""

from dataclasses import replace

import pytest
import torch

from amygdala_tl import capture, evaluate, fit, judge
from amygdala_tl.api.evaluate import passages
from amygdala_tl.corpus.build import build_corpus
from amygdala_tl.corpus.evaluation_data import EvaluationData, EvaluationText, of_corpus
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.errors import InputError
from amygdala_tl.memory.graph_file import read_graph_file

SHORT = EvaluationText("a", "one token", ("joy",), ("grief", "calm"))


@pytest.fixture(scope="module")
def corpus():
    return build_corpus(read_graph_file(demo_graph_path()), LabelRules(emotions=("calm", "grief", "joy")))


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
    found = evaluate(fitted, of_corpus(corpus, "heldout"), tiny, corpus=corpus, store=store)
    own = judge(fitted, corpus, store, tiny).evaluation
    assert torch.allclose(found.embedding, own.embedding, atol=1e-3)
    assert torch.allclose(found.bag_of_words, own.bag_of_words, atol=1e-9)
    assert found.embedding.isfinite().all()
    same = found.reading_layer == own.reading_layer
    assert torch.allclose(found.auroc.value[same], own.auroc.value[same], atol=1e-3)


def test_a_text_that_is_nothing_but_a_sink_does_not_count_and_is_told(corpus, tiny, fitted):
    data = of_corpus(corpus, "heldout")
    plain = evaluate(fitted, data, tiny)
    more = evaluate(fitted, EvaluationData((*data.texts, SHORT), data.labels), tiny)
    assert torch.equal(more.n_positive, plain.n_positive)
    assert torch.allclose(more.auroc.value, plain.auroc.value)
    assert "without 1 that" in more.data
    assert "without" not in plain.data


def test_texts_of_one_token_only_are_refused(tiny, fitted):
    with pytest.raises(InputError, match="too short to read"):
        evaluate(fitted, EvaluationData((SHORT,), frozenset({"joy"})), tiny)


def test_labels_are_found_however_a_bundle_spells_its_concepts(corpus, tiny, fitted):
    names = tuple(concept.title() for concept in fitted.concepts)
    spelt = replace(fitted, concepts=names)
    data = of_corpus(corpus, "heldout")
    found = evaluate(spelt, data, tiny)
    assert found.concepts == names
    assert found.n_positive.tolist() == evaluate(fitted, data, tiny).n_positive.tolist()


def test_passages_leave_out_what_has_no_score(tiny, fitted):
    texts = [EvaluationText(text, text, ()) for text in ("a", "The lamp went out.", "Bread on the table.")]
    for found in passages(fitted, EvaluationData(tuple(texts), frozenset()), tiny):
        shown = {text for _, text in (*found.top, *found.bottom)}
        assert shown == {"The lamp went out.", "Bread on the table."}


def test_a_corpus_without_its_activations_is_refused(corpus, store, tiny, fitted):
    for half in ({"corpus": corpus}, {"store": store}):
        with pytest.raises(InputError, match="go together"):
            evaluate(fitted, of_corpus(corpus, "heldout"), tiny, **half)
