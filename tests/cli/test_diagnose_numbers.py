"""The numbers that the diagnosing commands print are those of the manifest and of plain loops, in a terminal of 80 columns."""

import dataclasses
import json
import re

import pytest
import torch

from amygdala_tl import score
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api import train as train_verb
from amygdala_tl.api.layers import compare_layers
from amygdala_tl.api.score import read_texts
from amygdala_tl.corpus.io import read_corpus
from amygdala_tl.diagnostics.separation import best_layers
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.readout.record import load_readout
from amygdala_tl.settings import LAYERS
from tests.cli.conftest import run


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def readout(workplace, tiny_checkpoint):
    return ("--readout", workplace / "readout.safetensors", "--model", tiny_checkpoint("llama"))


@pytest.fixture
def verdicts(workplace):
    return load_readout(workplace / "readout.safetensors").verdicts


def held_out(workplace):
    return [text for text in read_corpus(workplace / "corpus").texts if text.split == "heldout" and not text.neutral]


def rows_of(out, names):
    """Concept -> the numbers of its row."""
    return {
        name: [float(cell) for cell in re.findall(r"(?<![\d.-])\d+\.\d+", row.group())]
        for name in names
        if (row := re.search(rf"^{name} .*$", out, re.MULTILINE))
    }


def test_evaluating_the_held_out_texts_as_a_file_gives_the_numbers_of_the_manifest(
    capsys, workplace, readout, verdicts, tmp_path
):
    rows = [
        {"text": text.text, "positive": text.positive, "negative": text.negative, "group": text.group}
        for text in held_out(workplace)
    ]
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    corpus = ("--training-data-dir", workplace / "corpus")
    code, out, _ = run(capsys, "evaluate", "--data", tmp_path / "texts.jsonl", *readout, *corpus)
    assert code == 0
    found = rows_of(out, verdicts)
    assert set(found) == set(verdicts)
    for concept, said in verdicts.items():
        assert found[concept][0] == pytest.approx(said.held_out, abs=2e-3)  # float16 vectors
        sides = [
            sum(concept in getattr(text, side) for text in held_out(workplace)) for side in ("positive", "negative")
        ]
        assert "{}/{}".format(*sides) in out


def test_a_readout_is_judged_on_the_held_out_texts_of_its_own_corpus_only(capsys, workplace, readout, verdicts):
    code, out, _ = run(capsys, "evaluate", "--data", workplace / "corpus", *readout)
    assert code == 0
    assert f"{len(held_out(workplace))} texts" in out
    for concept, numbers in rows_of(out, verdicts).items():
        assert numbers[0] == pytest.approx(verdicts[concept].held_out, abs=2e-3)


def test_the_passages_shown_have_the_highest_and_the_lowest_z(capsys, workplace, readout, verdicts, tiny, tmp_path):
    texts = [text.text for text in held_out(workplace)[:9]]
    (tmp_path / "texts.txt").write_text("\n\n".join(texts))
    code, out, _ = run(capsys, "evaluate", "--data", tmp_path / "texts.txt", *readout, "--passages", 2)
    assert code == 0
    bundle = load_readout(workplace / "readout.safetensors")
    z = read_texts(texts, bundle, tiny).combined
    blocks = dict(
        zip(
            re.findall(r"^ +(\w+), all layers", out, re.M),
            re.split(r"^ +\w+, all layers.*$", out, flags=re.M)[1:],
            strict=True,
        )
    )
    assert set(blocks) == set(bundle.concepts)
    for place, concept in enumerate(bundle.concepts):
        values = z[:, place].sort(descending=True).values.tolist()
        shown = [float(number) for number in re.findall(r"^([+-]\d+\.\d) ", blocks[concept], re.M)]
        expected = [*values[:2], *values[-2:]]
        assert shown == pytest.approx(expected, abs=0.051), concept


def test_the_readouts_own_auroc_in_the_cross_talk_is_that_of_its_layers_scores(capsys, workplace, verdicts, tiny):
    data = ("--training-data-dir", workplace / "corpus", "--readout", workplace / "readout.safetensors")
    texts = held_out(workplace)
    scores = score([text.text for text in texts], workplace / "readout.safetensors", tiny)
    positive, negative = (
        torch.tensor([[name in getattr(text, side) for name in verdicts] for text in texts])
        for side in ("positive", "negative")
    )
    for column, layer in enumerate((2, 3)):
        code, out, _ = run(capsys, "crosstalk", *data, "--layer", layer, "--warnings", 1)
        assert code == 0
        assert out.count("(correlation of scores") <= 1
        found = rows_of(out, verdicts)
        expected = dict(zip(verdicts, auroc(scores[:, column], positive, negative).tolist(), strict=True))
        for concept in found.keys() & verdicts:
            assert found[concept][0] == pytest.approx(expected[concept], abs=2e-3)


def test_auto_layers_are_those_that_training_folds_choose(capsys, workplace, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(train_verb, "LAYERS", dataclasses.replace(LAYERS, slots=1))
    how = ("--model", tiny_checkpoint("llama"), "--target-layers", "auto", "--aggregator", "mean", "--no-verdicts")
    output = tmp_path / "r.safetensors"
    assert run(capsys, "train", "--training-data-dir", workplace / "corpus", "--output", output, *how)[0] == 0
    separation = compare_layers(
        read_corpus(workplace / "corpus"),
        ActivationStore.find(tmp_path / "activations"),
        layers=[1, 2, 3],
        aggregator="mean",
    )
    assert load_readout(output).layers == best_layers(separation, 1)


def test_a_fit_is_judged_unless_told_not_to_be_and_only_readable_takes_the_verdicts(capsys, workplace, tmp_path):
    where = ("--training-data-dir", workplace / "corpus", "--activations-dir", workplace / "activations")
    fitted, plain, output = (tmp_path / f"{name}.safetensors" for name in ("fit", "plain", "some"))
    code, out, _ = run(capsys, "fit", *where, "--output", fitted, "--aggregator", "mean")
    assert code == 0
    assert "7 concepts on all texts" in out
    judged = load_readout(fitted)
    assert set(judged.verdicts) == set(judged.concepts)
    code, out, _ = run(capsys, "fit", *where, "--output", plain, "--aggregator", "mean", "--no-verdicts")
    assert code == 0
    assert "on held-out texts" not in out
    assert load_readout(plain).verdicts == {}
    readable = {
        concept: dataclasses.replace(verdict, verdict="readable" if concept in ("awe", "shame") else "weak")
        for concept, verdict in judged.verdicts.items()
    }
    dataclasses.replace(judged, provenance=dataclasses.replace(judged.provenance, verdicts=readable)).save(fitted)
    assert run(capsys, "export", "--fit-file", fitted, "--output", output, "--only-readable")[0] == 0
    assert load_readout(output).concepts == ("awe", "shame")
    assert len(load_readout(output).provenance.left_out) == 5


def test_another_corpus_is_told_before_a_model_is_loaded(capsys, workplace, some_graph, tmp_path):
    other = tmp_path / "other"
    extract = ("--memory-file", some_graph, "--output-dir", other, "--top-emotions", 3)
    assert run(capsys, "extract", *extract)[0] == 0
    readout = ("--readout", workplace / "readout.safetensors")
    no_model = ("--model", tmp_path / "no-such-model")
    for arguments in (
        ("quality", "--training-data-dir", other, *readout),
        ("quality", "--training-data-dir", other, *readout, *no_model, "--concepts", "grief"),
        ("report", "--training-data-dir", other, *readout, *no_model),
        ("crosstalk", "--training-data-dir", other, *readout),
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert "trained on another corpus" in err
        assert err.count("error:") == 1


def test_a_command_that_reads_leaves_no_folder_behind(capsys, workplace, tmp_path):
    data = ("--training-data-dir", workplace / "corpus", "--readout", workplace / "readout.safetensors")
    code, _, err = run(capsys, "quality", *data, "--activations-dir", tmp_path / "nowhere")
    assert code == 2
    assert "nowhere" in err
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("value", ["inf", "nan", "1e999"])
def test_a_norm_that_is_no_finite_number_is_refused(capsys, workplace, readout, tmp_path, value):
    (tmp_path / "n.csv").write_text(f"word,valence\njoy,8\ngrief,{value}\ncalm,7\nawe,6\n")
    norms = ("--norms", tmp_path / "n.csv", "--out", tmp_path / "page.html")
    code, _, err = run(capsys, "report", "--training-data-dir", workplace / "corpus", *readout, *norms)
    assert code == 2
    assert "a norm is not a number" in err
