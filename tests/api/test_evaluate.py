"""A readout on texts from elsewhere: what it is judged beside, and which texts count."""

from dataclasses import replace

import pytest
import torch

from amygdala_tl import capture, fit
from amygdala_tl.corpus.build import build_corpus
from amygdala_tl.corpus.evaluation_data import EvaluationData, EvaluationText, of_corpus
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.errors import InputError
from amygdala_tl.memory.graph_file import read_graph_file
from amygdala_tl.pipeline.diagnose import diagnose
from amygdala_tl.pipeline.other_texts import evaluate_texts, extreme_passages

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
    found = evaluate_texts(of_corpus(corpus, "heldout"), fitted, tiny, trained_on=(corpus, store))
    own = diagnose(corpus, store, replace(fitted, verdicts={}), model=tiny).evaluation
    assert torch.allclose(found.embedding, own.embedding, atol=1e-3)
    assert torch.allclose(found.bag_of_words, own.bag_of_words, atol=1e-9)
    assert found.embedding.isfinite().all()
    same = found.reading_layer == own.reading_layer
    assert torch.allclose(found.auroc.value[same], own.auroc.value[same], atol=1e-3)


def test_a_text_that_is_nothing_but_a_sink_does_not_count_and_is_told(corpus, tiny, fitted):
    data = of_corpus(corpus, "heldout")
    plain = evaluate_texts(data, fitted, tiny)
    more = evaluate_texts(EvaluationData((*data.texts, SHORT), data.labels), fitted, tiny)
    assert torch.equal(more.n_positive, plain.n_positive)
    assert torch.allclose(more.auroc.value, plain.auroc.value)
    assert "without 1 that" in more.data
    assert "without" not in plain.data


def test_texts_of_one_token_only_are_refused(tiny, fitted):
    with pytest.raises(InputError, match="too short to read"):
        evaluate_texts(EvaluationData((SHORT,), frozenset({"joy"})), fitted, tiny)


def test_labels_are_found_however_a_bundle_spells_its_concepts(corpus, tiny, fitted):
    names = tuple(concept.title() for concept in fitted.concepts)
    counts = dict(zip(names, fitted.counts.values(), strict=True))
    spelt = replace(fitted, concepts=names, counts=counts)
    found = evaluate_texts(of_corpus(corpus, "heldout"), spelt, tiny)
    assert found.concepts == names
    assert found.n_positive.tolist() == evaluate_texts(of_corpus(corpus, "heldout"), fitted, tiny).n_positive.tolist()


def test_passages_leave_out_what_has_no_score(tiny, fitted):
    texts = [EvaluationText(text, text, ()) for text in ("a", "The lamp went out.", "Bread on the table.")]
    for passages in extreme_passages(EvaluationData(tuple(texts), frozenset()), fitted, tiny):
        shown = {text for _, text in (*passages.top, *passages.bottom)}
        assert shown == {"The lamp went out.", "Bread on the table."}
