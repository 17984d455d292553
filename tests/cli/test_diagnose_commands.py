"""The diagnosing commands on the demo graph and a tiny model, as a user runs them, and what they say of mistakes."""

import csv
import json
import re
from typing import get_args

import pytest

from amygdala_tl.diagnostics.records import VerdictName
from amygdala_tl.readout.record import load_readout
from tests.cli.conftest import run


@pytest.fixture
def common(workplace, tiny_checkpoint):
    """Corpus, readout and model of the commands that take all three."""
    data = ("--training-data-dir", workplace / "corpus", "--readout", workplace / "readout.safetensors")
    return data, ("--model", tiny_checkpoint("llama"))


def test_train_writes_verdicts_into_the_manifest(workplace):
    said = load_readout(workplace / "readout.safetensors").verdicts
    assert len(said) == 7
    for verdict in said.values():
        assert verdict.verdict in get_args(VerdictName)
        assert verdict.layer in (2, 3)
        assert verdict.interval[0] <= verdict.auroc <= verdict.interval[1]


def test_quality_judges_every_concept_and_tells_the_details_of_some(capsys, common):
    data, model = common
    code, out, _ = run(capsys, "quality", *data)
    assert code == 0
    assert "bag of words" in out
    assert "7 concepts on all texts" in out
    code, out, _ = run(capsys, "quality", *data, *model, "--concepts", "Grief,joy")
    assert code == 0
    for part in ("grief, layer", "joy, layer", "verdict", "split halves", "neuron", "raises", "outliers", "labelled"):
        assert part in out
    assert "calm, layer" not in out


def test_crosstalk_shows_every_layer_or_one(capsys, common):
    data, _ = common
    code, out, _ = run(capsys, "crosstalk", *data)
    assert code == 0
    assert "layer 2, held-out texts" in out
    assert "layer 3, held-out texts" in out
    code, out, _ = run(capsys, "crosstalk", *data, "--layer", 3)
    assert code == 0
    assert "layer 2" not in out
    assert "responds to" in out


def test_verdicts_and_cross_talk_are_tables_too(capsys, common, workplace, tmp_path):
    data, _ = common
    code, out, _ = run(capsys, "quality", *data, "--json", "--output", tmp_path / "new" / "verdicts.csv")
    assert code == 0
    rows = list(csv.DictReader((tmp_path / "new" / "verdicts.csv").open(newline="")))
    said = [(each["concept"], each["verdict"], each["reason"]) for each in json.loads(out)["quality"]]
    assert [(row["concept"], row["verdict"], row["reason"]) for row in rows] == said
    kept = load_readout(workplace / "readout.safetensors").verdicts
    assert [float(row["auroc"]) for row in rows] == [kept[row["concept"]].auroc for row in rows]
    pairs = tmp_path / "pairs.jsonl"
    code, out, _ = run(capsys, "crosstalk", *data, "--json", "--output", pairs)
    assert code == 0
    found = [json.loads(line) for line in pairs.read_text().splitlines()]
    expected = [
        (each["layer"], readout, label, each["auroc"][i][j])
        for each in json.loads(out)
        for i, readout in enumerate(each["concepts"])
        for j, label in enumerate(each["concepts"])
    ]
    assert [(row["layer"], row["readout"], row["label"]) for row in found] == [row[:3] for row in expected]
    assert [row["auroc"] for row in found] == pytest.approx([row[3] for row in expected], nan_ok=True)
    for command, bad in (
        ("quality", pairs),
        ("quality", tmp_path / "table.xlsx"),
        ("crosstalk", workplace / "readout.json"),
    ):
        assert run(capsys, command, *data, "--output", bad)[0] == 2


def test_layers_compares_what_was_captured_and_chooses(capsys, workplace):
    where = ("--training-data-dir", workplace / "corpus", "--activations-dir", workplace / "activations")
    code, out, _ = run(capsys, "layers", *where, "--aggregator", "mean", "--slots", 1)
    assert code == 0
    assert "on training folds" in out
    chosen = next(line for line in out.splitlines() if line.startswith("--target-layers"))
    assert chosen.split()[1] in ("2", "3")


def test_report_writes_one_page_with_every_concept(capsys, common, tmp_path):
    data, model = common
    (tmp_path / "norms.csv").write_text("word,valence,arousal\njoy,8.2,6\ngrief,1.7,5\nCalm,7,2\nanxiety,2.4,7\n")
    page = tmp_path / "new" / "folder" / "page.html"
    norms, plots = ("--norms", tmp_path / "norms.csv"), tmp_path / "plots"
    code, out, _ = run(capsys, "report", *data, *model, "--out", page, *norms, "--plots", plots)
    assert code == 0
    names = {"verdicts", "layers", "lengths", "cross-talk-2", "cross-talk-3"}
    assert {path.name for path in plots.iterdir()} == {f"{name}.svg" for name in names}
    assert str(plots / "layers.svg") in "".join(out.split())
    assert "7 concepts on all texts" in out
    text = page.read_text(encoding="utf-8")
    for part in ("loneliness", "valence", "arousal", "Readout report"):
        assert part in text


def test_evaluate_judges_labelled_texts_and_shows_passages_of_others(capsys, common, workplace, tmp_path):
    _, model = common
    notes = [json.loads(line) for line in (workplace / "corpus" / "texts.jsonl").read_text().splitlines()]
    labelled = [
        {"text": f"Again: {note['text']}", "labels": [name.title() for name in note["positive"]]} for note in notes
    ]
    (tmp_path / "other.jsonl").write_text("\n".join(json.dumps(row) for row in labelled[:120]))
    readout = ("--readout", workplace / "readout.safetensors", *model)
    code, out, _ = run(capsys, "evaluate", "--data", tmp_path / "other.jsonl", *readout)
    assert code == 0
    assert "120 texts in 120 groups" in out
    assert "words: bag of words" not in " ".join(out.split())
    assert "there: AUROC of the same method trained on these texts" in " ".join(out.split())
    code, out, _ = run(
        capsys, "evaluate", "--data", tmp_path / "other.jsonl", *readout, "--training-data-dir", workplace / "corpus"
    )
    assert code == 0
    assert re.search(
        r"means: AUROC 0\.\d+, home 0\.\d+, there 0\.\d+, words 0\.\d+, emb. 0\.\d+", " ".join(out.split())
    )
    (tmp_path / "talk.txt").write_text("\n\n".join(note["text"] for note in notes[:8]))
    code, out, _ = run(capsys, "evaluate", "--data", tmp_path / "talk.txt", *readout, "--passages", 1)
    assert code == 0
    assert "grief, all layers" in out
    assert "AUROC" not in out


def test_train_can_choose_its_layers(capsys, workplace, tiny_checkpoint, tmp_path):
    how = ("--model", tiny_checkpoint("llama"), "--target-layers", "auto", "--aggregator", "mean", "--no-verdicts")
    output = tmp_path / "r.safetensors"
    code, out, _ = run(capsys, "train", "--training-data-dir", workplace / "corpus", "--output", output, *how)
    assert code == 0
    assert "chosen" in out
    bundle = load_readout(output)
    assert set(bundle.layers) <= {1, 2, 3}
    assert bundle.verdicts == {}


def test_export_leaves_out_what_is_not_readable_and_says_why(capsys, workplace, tmp_path):
    where = ("--training-data-dir", workplace / "corpus", "--activations-dir", workplace / "activations")
    how = ("--aggregator", "whitened", "--target-layers", "3")
    fitted, whole = tmp_path / "fit.safetensors", tmp_path / "whole.safetensors"
    assert run(capsys, "fit", *where, "--output", fitted, *how)[0] == 0
    assert run(capsys, "export", "--fit-file", fitted, "--output", whole)[0] == 0
    verdicts = load_readout(whole).verdicts
    readable = [concept for concept, verdict in verdicts.items() if verdict.verdict == "readable"]
    some = tmp_path / "some.safetensors"
    code, _, err = run(capsys, "export", "--fit-file", fitted, "--output", some, "--only-readable")
    if not readable:  # a random model may know nothing
        assert code == 2
        assert "no concept is readable" in err
        return
    assert code == 0
    bundle = load_readout(some)
    assert list(bundle.concepts) == readable
    assert set(bundle.provenance.left_out) >= set(verdicts) - set(readable)


def test_an_unjudged_fit_has_no_readable_concepts_to_export(capsys, workplace, tmp_path):
    where = ("--training-data-dir", workplace / "corpus", "--activations-dir", workplace / "activations")
    how = ("--aggregator", "mean", "--no-verdicts")
    fitted, output = tmp_path / "fit.safetensors", tmp_path / "r.safetensors"
    assert run(capsys, "fit", *where, "--output", fitted, *how)[0] == 0
    code, _, err = run(capsys, "export", "--fit-file", fitted, "--output", output, "--only-readable")
    assert code == 2
    assert "not judged" in err


def test_train_writes_readable_concepts_only_or_says_that_there_are_none(capsys, workplace, tiny_checkpoint, tmp_path):
    output, model = tmp_path / "r.safetensors", ("--model", tiny_checkpoint("llama"))
    where = ("--training-data-dir", workplace / "corpus", "--activations-dir", workplace / "activations")
    how = ("--target-layers", "3", "--aggregator", "whitened", "--only-readable")
    code, out, err = run(capsys, "train", *where, "--output", output, *model, *how)
    readable = re.findall(r"^(\w+) +readable", out, re.M)
    if not readable:  # a random model may know nothing
        assert (code, output.exists()) == (2, False)
        assert "no concept is readable" in err
        return
    bundle = load_readout(output)
    assert (code, set(bundle.concepts)) == (0, set(readable))
    assert {of.verdict for of in bundle.verdicts.values()} == {"readable"}
    assert f"{len(readable)} of 7 concepts are readable" in out


def test_train_cannot_keep_readable_concepts_without_verdicts(capsys, workplace, tmp_path):
    how = ("--model", tmp_path / "no-such-model", "--no-verdicts", "--only-readable")
    where = ("--training-data-dir", workplace / "corpus", "--output", tmp_path / "r.safetensors")
    code, _, err = run(capsys, "train", *where, *how)
    assert code == 2
    assert "verdicts say which concepts are readable" in err


def test_mistakes_are_told_in_one_message(capsys, common, workplace, tmp_path):
    data, model = common
    norms = tmp_path / "norms.csv"
    norms.write_text("word,valence\njoy,high\n")
    (tmp_path / "foreign.jsonl").write_text('{"text": "A tide.", "labels": ["tide"]}\n')
    (tmp_path / "broken.jsonl").write_text('{"text": "A tide."}\nnonsense\n')
    readout = ("--readout", workplace / "readout.safetensors", *model)
    mistakes = [
        (("quality", *data, "--concepts", "envy"), "no such concept"),
        (("crosstalk", *data, "--layer", 9), "does not have the layer"),
        (("report", *data, *model, "--norms", tmp_path / "none.csv"), "none.csv"),
        (("report", *data, *model, "--norms", norms), "a norm is not a number"),
        (("evaluate", "--data", tmp_path / "foreign.jsonl", *readout), "no label of these texts is a concept"),
        (("evaluate", "--data", tmp_path / "broken.jsonl", *readout), "broken.jsonl, line 2"),
        (("evaluate", "--data", tmp_path / "gone.jsonl", *readout), "gone.jsonl"),
        (
            ("crosstalk", *data, "--activations-dir", tmp_path / "empty"),
            "activations of this model and these settings are missing",
        ),
    ]
    for arguments, expected in mistakes:
        code, _, err = run(capsys, *arguments)
        assert code == 2, arguments
        assert expected in " ".join(err.split()), arguments


def test_a_readout_of_another_corpus_is_refused(capsys, workplace, tmp_path):
    folder = tmp_path / "folder"
    for concept in ("joy", "grief"):
        for polarity in ("positive", "negative"):
            (folder / concept / polarity).mkdir(parents=True)
            for number in range(6):
                text = f"{concept} {polarity} {number}: the harbour lay still and nobody had anything to say."
                (folder / concept / polarity / f"{number}.txt").write_text(text)
    code, _, err = run(
        capsys, "crosstalk", "--training-data-dir", folder, "--readout", workplace / "readout.safetensors"
    )
    assert code == 2
    assert "trained on another corpus" in err
