"""A bundle with the four contracted keys only: what needs no more than vectors works, the rest says what is missing."""

import json

import pytest
import torch
from safetensors.torch import save_file

import amygdala_tl as at
from amygdala_tl.api.inputs import corpus_of, store_of
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.errors import ReadoutError
from amygdala_tl.lens.residuals import run_resid_post
from tests.cli.conftest import run

CONCEPTS = ("awe", "grief", "joy")
LAYERS = (1, 3)
TEXTS = ["The lamp went out and nobody lit it again.", "Four gulls.", "We laughed until Hal came in, twice!"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """As another program would write it: random unit rows, and four keys."""
    path = tmp_path_factory.mktemp("four") / "readout.safetensors"
    random = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(len(LAYERS), len(CONCEPTS), 64, generator=random), dim=-1)
    save_file({f"layer_{layer}.vectors": vectors[place].half() for place, layer in enumerate(LAYERS)}, path)
    manifest = {"concepts": list(CONCEPTS), "layers": list(LAYERS), "hidden_size": 64, "dtype": "float16"}
    path.with_suffix(".json").write_text(json.dumps(manifest))
    return path


@pytest.fixture
def arguments(bundle, tiny_checkpoint):
    return ("--readout", bundle, "--model", tiny_checkpoint("llama"))


def one_message(capsys, *arguments):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("error:") == 1
    assert "estimator" not in err
    return " ".join(err.split())


def test_it_scores_a_cache_and_texts(bundle, tiny):
    readout = at.load_readout(bundle)
    tokens = torch.tensor([tiny.tokenizer(TEXTS[0]).input_ids])
    stream = run_resid_post(tiny.model, tokens, LAYERS)[0]
    expected = torch.stack([stream[:, place] @ readout.vectors[place].T for place in range(2)], dim=1)
    _, cache = tiny.model.run_with_cache(tokens)
    torch.testing.assert_close(readout.scores(cache)[0].detach(), expected, rtol=1e-4, atol=1e-4)
    scores = at.score(TEXTS, readout, tiny)
    torch.testing.assert_close(scores[0], expected[1:].mean(dim=0), rtol=1e-4, atol=1e-4)
    assert torch.equal(scores, at.score(TEXTS, bundle, tiny))


def test_its_hooks_are_those_of_the_contract(bundle):
    assert at.load_readout(bundle).provenance.hooks == {
        "1": "blocks.1.hook_resid_post",
        "3": "blocks.3.hook_resid_post",
    }


def test_it_is_evaluated_on_labelled_texts(capsys, bundle, tiny, arguments, some_graph, tmp_path):
    corpus = at.extract(memory_file=some_graph)
    texts = [text for text in corpus.texts if text.positive][:40]
    rows = [{"text": text.text, "labels": text.positive, "group": text.group} for text in texts]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = at.evaluate(at.load_readout(bundle), tmp_path / "texts.jsonl", tiny)
    assert found.concepts == CONCEPTS
    assert found.n_positive.tolist() == [sum(name in text.positive for text in texts) for name in CONCEPTS]
    assert found.reading_layer.tolist() == [1] * 3  # the nearest to 0.65 of the deepest layer known, 3
    code, out, _ = run(capsys, "evaluate", "--data", tmp_path / "texts.jsonl", *arguments)
    assert code == 0
    own = [text for text in texts if set(text.positive) & set(CONCEPTS)]
    assert f"{len(own)} texts" in out
    assert f"{40 - len(own)} with only labels that the readout lacks" in " ".join(out.split())
    assert "note: labels that the readout lacks: " in out


def test_z_needs_a_calibration_and_says_so_before_a_model_is_loaded(bundle, tmp_path):
    for ask in (
        lambda: at.score(TEXTS, bundle, str(tmp_path / "no-such-model"), calibrated=True),
        lambda: at.score(TEXTS, bundle, calibrated=True),
    ):
        with pytest.raises(ReadoutError, match=r"no calibration of texts.*[Uu]se raw scores"):
            ask()


def test_reading_says_in_one_message_that_the_calibration_is_missing(capsys, bundle, arguments, tmp_path):
    (tmp_path / "talk.txt").write_text("\n\n".join(TEXTS))
    for command in (
        ("read", TEXTS[0], *arguments),
        ("read", TEXTS[0], "--readout", bundle),
        ("read", TEXTS[0], "--json", "--readout", bundle, "--model", "no-such-model"),
        ("evaluate", "--data", tmp_path / "talk.txt", *arguments),
        ("evaluate", "--data", tmp_path / "talk.txt", "--readout", bundle),
    ):
        assert "no calibration of texts" in one_message(capsys, *command)


def test_inspect_describes_it(capsys, bundle):
    code, out, _ = run(capsys, "inspect", bundle)
    assert code == 0
    for part in ("3 concepts x 2 layers x 64", "blocks.3.hook_resid_post", *CONCEPTS):
        assert part in out


def test_export_copies_it_and_knows_no_readable_concepts(capsys, bundle, tmp_path):
    output = tmp_path / "again.safetensors"
    assert run(capsys, "export", "--fit-file", bundle, "--output", output)[0] == 0
    assert torch.equal(at.load_readout(output).vectors, at.load_readout(bundle).vectors)
    said = one_message(capsys, "export", "--fit-file", bundle, "--output", output, "--only-readable")
    assert "not judged" in said


def test_without_a_model_to_name_raw_scores_ask_for_one(bundle):
    with pytest.raises(ReadoutError, match="names no model"):
        at.score(TEXTS, bundle)


def test_its_corpus_is_unknown_and_the_commands_that_need_it_say_so(capsys, bundle, arguments, some_graph, tmp_path):
    readout = at.load_readout(bundle)
    at.write_corpus(at.extract(memory_file=some_graph), tmp_path / "corpus")
    with pytest.raises(ReadoutError, match="does not say what it was trained on"):
        corpus_of(readout, tmp_path / "corpus")
    with pytest.raises(ReadoutError, match="names no model"):
        store_of(readout, tmp_path)
    data = ("--training-data-dir", tmp_path / "corpus")
    for command in (
        ("quality", *data, "--readout", bundle),
        ("crosstalk", *data, "--readout", bundle),
        ("report", *data, *arguments),
    ):
        assert "does not say what it was trained on" in one_message(capsys, *command)


def test_judging_it_in_python_says_what_is_missing(bundle, tiny, some_graph, tmp_path):
    corpus = at.extract(memory_file=some_graph, rules=LabelRules(heldout_fraction=0.2))
    store, _ = at.capture(corpus, tiny, tmp_path, layers=LAYERS)
    readout = at.load_readout(bundle)
    with pytest.raises(ReadoutError, match="does not say how it was fitted"):
        at.judge(readout, corpus, store)
    with pytest.raises(ReadoutError, match="does not say how it was fitted"):
        at.evaluate(readout, corpus, tiny, corpus=corpus, store=store)
    assert at.cross_talk(readout, store, corpus).concepts == CONCEPTS
