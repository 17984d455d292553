"""Scores, verdicts and cross-talk as data frames and labelled arrays, and tables in files."""

import csv
import json
import sys

import pytest
import torch

import amygdala_tl as at
from amygdala_tl.diagnostics.records import CrossTalk
from amygdala_tl.errors import InputError, StorageError
from amygdala_tl.table_files import table_kind, write_table
from tests.cli.conftest import run
from tests.readout.example import VERDICTS

TEXTS = ["The tide came in again.", 'She said "no",\nand left.']


@pytest.fixture(scope="module")
def readout(tiny, tmp_path_factory):
    """A readout of the tiny model with a calibration and a score over all layers."""
    words = ("warm", "cold")
    labelled = [(f"Note {day} on a {word} day of the year, by the sea.", [word]) for day in range(16) for word in words]
    texts, labels = zip(*labelled, strict=True)
    corpus = at.Corpus.from_texts(texts, labels, groups=[f"day {place}" for place in range(len(texts))])
    store, _ = at.capture(corpus, tiny, tmp_path_factory.mktemp("activations"), layers=[1, 2])
    return at.fit(corpus, store, aggregator="mean")


def columns_of(frame):
    """A frame of either library as columns."""
    return {name: list(frame[name]) for name in frame.columns}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_has_a_row_a_text_and_concept_and_a_column_a_layer(tiny, readout, library):
    pytest.importorskip(library)
    scores = at.score(TEXTS, readout, tiny)
    found = columns_of(at.score(TEXTS, readout, tiny, as_=library))
    assert list(found) == ["text", "concept", "layer_1", "layer_2"]
    rows = zip(found["text"], found["concept"], zip(found["layer_1"], found["layer_2"], strict=True), strict=True)
    expected = [
        (text, concept, tuple(scores[row, :, column].tolist()))
        for row, text in enumerate(TEXTS)
        for column, concept in enumerate(readout.concepts)
    ]
    assert list(rows) == expected
    z = at.score(TEXTS, readout, tiny, calibrated=True)
    calibrated = columns_of(at.score(TEXTS, readout, tiny, calibrated=True, as_=library))
    assert list(calibrated) == ["text", "concept", "combined", "layer_1", "layer_2"]
    assert calibrated["layer_2"] == z[:, 1].flatten().tolist()


def test_a_dataset_names_its_axes(tiny, readout):
    pytest.importorskip("xarray")
    found = at.score(TEXTS, readout, tiny, calibrated=True, as_="xarray")
    assert found["score"].dims == ("text", "layer", "concept")
    z = at.score(TEXTS, readout, tiny, calibrated=True)
    one = found["score"].sel(text=TEXTS[1], layer=2, concept=readout.concepts[0])
    assert float(one) == float(z[1, 1, 0])
    assert found["combined"].dims == ("text", "concept")
    assert "combined" not in at.score(TEXTS, readout, tiny, as_="xarray")


def test_a_library_that_is_not_installed_is_named_with_the_command_before_the_model_loads(readout, monkeypatch):
    for library in ("pandas", "polars", "xarray"):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(InputError, match=f"{library} is not installed.*`pip install {library}`"):
            at.score(TEXTS, readout, "no such model", as_=library)


def test_verdicts_are_a_frame():
    pytest.importorskip("pandas")
    frame = at.readout.provenance.Verdicts(VERDICTS).frame()
    assert list(frame["concept"]) == list(VERDICTS)
    joy = frame.set_index("concept").loc["joy"]
    assert (joy["verdict"], joy["auroc"], joy["low"], joy["high"], joy["n_positive"]) == ("weak", 0.625, 0.5, 0.75, 8)
    assert "interval" not in frame
    pytest.importorskip("xarray")
    awe = at.readout.provenance.Verdicts(VERDICTS).frame("xarray").sel(concept="awe")
    assert (awe["verdict"].item(), awe["auroc"].item(), awe["p_value"].item()) == ("readable", 0.875, 0.01)


def test_cross_talk_is_a_frame_of_pairs():
    pytest.importorskip("pandas")
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.rand(2, 2, generator=generator) for _ in range(4)]
    cosine, auroc, labels, scores = matrices
    counts = torch.tensor([3, 4])
    found = CrossTalk(("a", "b"), 3, cosine, auroc, counts, counts, labels, scores, torch.rand(2), counts, (0, 1), ())
    frame = found.frame().set_index(["layer", "readout", "label"])
    row = frame.loc[(3, "a", "b")]
    assert row.tolist() == [float(of[0, 1]) for of in (auroc, cosine, labels, scores)]
    pytest.importorskip("xarray")
    labelled = found.frame("xarray").sel(layer=3)
    assert labelled["auroc"].dims == ("readout", "label")
    assert labelled["auroc"].values.tolist() == auroc.tolist()
    assert list(labelled["readout"].values) == ["a", "b"]


COLUMNS = {"text": TEXTS, "concept": ["joy", "awe"], "layer_3": [0.5, float("nan")]}


def read_back(path):
    """Rows of a table file."""
    if path.suffix == ".csv":
        rows = list(csv.DictReader(path.open(newline="")))
        return [row | {"layer_3": float(row["layer_3"]) if row["layer_3"] else None} for row in rows]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_table_file_comes_back_and_replaces_its_own_kind_only(tmp_path, ending):
    path, rows = (
        tmp_path / f"scores{ending}",
        [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)],
    )
    kind = table_kind(path, "a table of scores", "text", "concept")
    for _ in range(2):
        write_table(path, COLUMNS, kind)
        assert read_back(path) == [rows[0], rows[1] | {"layer_3": None}]
    write_table(other := tmp_path / f"other{ending}", {"text": ["a"], "label": [1]}, table_kind(path, "any", "text"))
    with pytest.raises(StorageError, match="a table of scores should be"):
        write_table(other, COLUMNS, kind)
    (tmp_path / f"notes{ending}").write_text("my notes on text and concept")
    with pytest.raises(StorageError, match="a table of scores should be"):
        write_table(tmp_path / f"notes{ending}", COLUMNS, kind)


def test_a_spreadsheet_takes_no_text_of_a_table_for_a_formula(tmp_path):
    texts = ["=1+1", "@SUM(1)", "-5 degrees", "no formula: =1"]
    write_table(path := tmp_path / "z.csv", {"text": texts, "z": [-1.5] * 4}, table_kind(path, "scores", "text"))
    assert [row["text"] for row in csv.DictReader(path.open(newline=""))] == [
        "'=1+1",
        "'@SUM(1)",
        "'-5 degrees",
        texts[3],
    ]
    assert path.read_text().endswith("no formula: =1,-1.5\n")


def test_the_command_writes_a_table_beside_what_it_prints(tiny_checkpoint, readout, tiny, tmp_path, capsys):
    readout.save(bundle := tmp_path / "readout.safetensors")
    common = ("--readout", bundle, "--model", tiny_checkpoint("llama"))
    code, out, _ = run(capsys, "read", *TEXTS, "--json", "--output", tmp_path / "tables" / "z.csv", *common)
    assert code == 0
    rows = list(csv.DictReader((tmp_path / "tables" / "z.csv").open(newline="")))
    for said, row in zip(json.loads(out), rows[:: len(readout.concepts)], strict=True):
        concept = readout.concepts[0]
        assert (row["text"], row["concept"]) == (said["text"], concept)
        assert float(row["combined"]) == said["combined"][concept]
        assert float(row["layer_2"]) == said["z"]["2"][concept]
    for bad in (tmp_path / "z.xlsx", bundle, bundle.with_suffix(".json")):
        assert run(capsys, "read", *TEXTS, "--output", bad, *common)[0] == 2
    assert at.load_readout(bundle).concepts == readout.concepts
