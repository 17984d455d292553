"""What a command does, the verb of the same name does: both are run on one corpus and one tiny model, and compared."""

import io
import json
from dataclasses import fields

import pytest
import torch
from rich.console import Console

import amygdala_tl as at
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.evaluate import passages
from amygdala_tl.api.inputs import corpus_of, store_of
from amygdala_tl.api.layers import compare_layers
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.diagnostics.separation import best_layers
from amygdala_tl.report.diagnosis import diagnosis_summary
from amygdala_tl.report.page import report_html
from amygdala_tl.report.tables import (
    concept_details,
    crosstalk_table,
    evaluation_table,
    layer_table,
    passages_table,
)
from tests.cli.conftest import run

WIDTH = 100
TEXTS = ["The lamp went out and nobody lit it again.", "We laughed until Hal came in, twice!"]


@pytest.fixture(autouse=True)
def width(monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))


@pytest.fixture(scope="module")
def corpus(some_graph):
    rules = LabelRules(emotions=("calm", "grief", "joy"), max_examples_per_emotion=30, heldout_fraction=0.2)
    return at.extract(memory_file=some_graph, rules=rules)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus):
    folder = tmp_path_factory.mktemp("both")
    at.write_corpus(corpus, folder / "corpus")
    return folder


@pytest.fixture(scope="module")
def trained(corpus, folder, tiny):
    """The verb's readout, with its activations where the commands look for them."""
    return at.train(
        corpus, tiny, layers="0.4,-1", aggregator="mean", batch_size=8, activations_dir=folder / "activations"
    )


@pytest.fixture(scope="module")
def saved(folder, trained):
    return at.load_readout(trained.save(folder / "readout.safetensors"))


@pytest.fixture(scope="module")
def store(saved, folder):
    return store_of(saved, folder / "activations")


@pytest.fixture
def common(folder, saved):
    return ("--training-data-dir", folder / "corpus", "--readout", folder / "readout.safetensors")


@pytest.fixture
def model(tiny_checkpoint):
    return ("--model", tiny_checkpoint("llama"))


def printed(thing):
    """What a command prints of it."""
    console = Console(width=WIDTH, file=io.StringIO(), highlight=False)
    console.print(thing)
    return console.file.getvalue()


def assert_same_readout(command, verb):
    """Equal in everything that a bundle keeps; vectors on disk are float16."""
    assert (command.concepts, command.layers) == (verb.concepts, verb.layers)
    assert torch.equal(command.vectors, verb.vectors.half().float())
    for name in ("text_calibration", "token_calibration"):
        one, other = getattr(command, name), getattr(verb, name)
        assert torch.equal(one.mean, other.mean)
        assert torch.equal(one.std, other.std)
        assert one.n == other.n
    for field in fields(command.provenance):
        assert getattr(command.provenance, field.name) == getattr(verb.provenance, field.name), field.name


def test_extract(capsys, corpus, some_graph, tmp_path):
    (tmp_path / "names.txt").write_text("calm\ngrief\njoy\n")
    how = ("--memory-file", some_graph, "--emotions-file", tmp_path / "names.txt")
    how = (*how, "--max-examples-per-emotion", 30, "--heldout-fraction", 0.2)
    assert run(capsys, "extract", *how, "--output-dir", tmp_path / "c")[0] == 0
    assert at.read_corpus(tmp_path / "c") == corpus


def test_train(capsys, folder, trained, model, tmp_path):
    output = tmp_path / "r.safetensors"
    how = ("--target-layers", "0.4,-1", "--aggregator", "mean", "--batch-size", 8)
    assert run(capsys, "train", "--training-data-dir", folder / "corpus", "--output", output, *model, *how)[0] == 0
    command = at.load_readout(output)
    assert set(command.verdicts) == set(command.concepts)
    assert_same_readout(command, trained)


def test_train_with_layers_of_its_choice(capsys, corpus, folder, tiny, model, tmp_path):
    output = tmp_path / "r.safetensors"
    how = ("--target-layers", "auto", "--aggregator", "mean")
    assert run(capsys, "train", "--training-data-dir", folder / "corpus", "--output", output, *model, *how)[0] == 0
    assert_same_readout(at.load_readout(output), at.train(corpus, tiny, layers="auto", aggregator="mean"))


def test_capture_and_fit(capsys, corpus, folder, tiny, model, tmp_path):
    data, activations = ("--training-data-dir", folder / "corpus"), ("--activations-dir", tmp_path / "command")
    assert run(capsys, "capture", *data, *activations, *model, "--target-layers", "1,3")[0] == 0
    store, summary = at.capture(corpus, tiny, tmp_path / "verb", layers="1,3")
    command = ActivationStore.find(tmp_path / "command")
    assert (command.info, command.settings) == (store.info, store.settings)
    ids = [text.id for text in corpus.texts]
    assert summary.texts_run == len(ids)
    torch.testing.assert_close(command.load(ids, [1, 3], "last"), store.load(ids, [1, 3], "last"))
    output, how = tmp_path / "r.safetensors", ("--aggregator", "whitened", "--labels", "graded")
    fit = ("fit", *data, *activations, "--output", output, *how, "--read-position", "last", "--no-verdicts")
    assert run(capsys, *fit)[0] == 0
    verb = at.fit(corpus, command, aggregator="whitened", labels="graded", read_position="last")
    assert_same_readout(at.load_readout(output), verb)


def test_layers(capsys, corpus, folder, store):
    where = ("--training-data-dir", folder / "corpus", "--activations-dir", folder / "activations")
    code, out, _ = run(capsys, "layers", *where, "--aggregator", "mean", "--slots", 1)
    assert code == 0
    separation = compare_layers(corpus, store, aggregator="mean")
    chosen = best_layers(separation, 1)
    assert out == printed(layer_table(separation, chosen)) + f"--target-layers {chosen[0]}\n"


def test_quality_is_judge(capsys, corpus, saved, store, common, model, tiny):
    code, out, _ = run(capsys, "quality", *common)
    assert code == 0
    assert out == printed(diagnosis_summary(at.judge(saved, corpus, store)))
    code, out, _ = run(capsys, "quality", *common, *model, "--concepts", "joy")
    assert code == 0
    (joy,) = (each for each in at.judge(saved, corpus, store, tiny).quality if each.concept == "joy")
    assert out == printed(concept_details(joy))


def test_report_is_judge_with_the_model(capsys, corpus, saved, store, common, model, tiny, tmp_path):
    assert run(capsys, "report", *common, *model, "--out", tmp_path / "page.html")[0] == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == report_html(at.judge(saved, corpus, store, tiny))


def test_crosstalk_is_cross_talk(capsys, corpus, saved, store, common):
    for layer in saved.layers:
        code, out, _ = run(capsys, "crosstalk", *common, "--layer", layer)
        assert code == 0
        assert out == printed(crosstalk_table(at.cross_talk(saved, store, corpus, layer=layer), 10))


@pytest.mark.parametrize("with_corpus", [True, False])
def test_evaluate(capsys, corpus, folder, saved, store, model, tiny, with_corpus):
    how = ("--data", folder / "corpus", "--readout", folder / "readout.safetensors", *model)
    more = ("--training-data-dir", folder / "corpus") if with_corpus else ()
    code, out, _ = run(capsys, "evaluate", *how, *more)
    assert code == 0
    beside = {"corpus": corpus, "store": store} if with_corpus else {}
    for data in (corpus, folder / "corpus", str(folder / "corpus")):
        assert out == printed(evaluation_table(at.evaluate(saved, data, tiny, **beside)))


def test_evaluate_of_texts_without_labels_is_passages(capsys, folder, saved, model, tiny, tmp_path):
    (tmp_path / "talk.txt").write_text("\n\n".join(TEXTS * 2 + ["Four gulls sat there.", "Bread on the table."]))
    how = ("--data", tmp_path / "talk.txt", "--readout", folder / "readout.safetensors", *model, "--passages", 1)
    code, out, _ = run(capsys, "evaluate", *how)
    assert code == 0
    left_out, _, table = out.partition("\n")
    assert left_out.startswith("left out: duplicate text: 2")
    assert table == printed(passages_table(passages(saved, tmp_path / "talk.txt", tiny, most=1)))


def test_read_is_score(capsys, folder, saved, model, tiny):
    how = ("--readout", folder / "readout.safetensors", *model, "--json")
    code, out, _ = run(capsys, "read", *TEXTS, *how)
    assert code == 0
    z = at.score(TEXTS, saved, tiny, calibrated=True)
    assert torch.equal(z, at.score(TEXTS, folder / "readout.safetensors", str(model[1]), calibrated=True))
    for row, said in zip(z, json.loads(out), strict=True):
        for place, layer in enumerate(saved.layers):
            found = [said["z"][str(layer)][concept] for concept in saved.concepts]
            assert found == pytest.approx(row[place].tolist(), abs=1e-6)


def test_export_is_save(capsys, folder, saved, tmp_path):
    output = tmp_path / "again.safetensors"
    assert run(capsys, "export", "--fit-file", folder / "readout.safetensors", "--output", output)[0] == 0
    assert_same_readout(at.load_readout(output), saved)


def test_the_corpus_of_a_readout_is_found_again(corpus, folder, saved):
    assert corpus_of(saved, folder / "corpus") == corpus
