"""`steer --config`, its older name `ablation-run`, and `compare` on a tiny model, as a user runs them."""

import csv
import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from amygdala_tl.cli.archive import archived
from amygdala_tl.cli.main import main
from amygdala_tl.corpus.io import read_corpus
from amygdala_tl.readout.control_vector import control_vector_bytes
from amygdala_tl.readout.record import load_readout
from amygdala_tl.steering.results import write_run, write_seed
from amygdala_tl.steering.settings import ReadoutSettings, RunSettings, SteeringSettings
from amygdala_tl.steering.words import read_words
from tests.cli.conftest import run
from tests.readout.example import VERDICTS, a_readout
from tests.report.steering_example import example_run

WORDS = 'words = "words.json"'
STEERING = 'concepts = ["joy", "grief"]\nlayers = [2]\ndoses = [0, 0.4]\nrandom = 3'


@pytest.fixture(scope="module")
def written(workplace, tiny_checkpoint):
    """A configuration beside the workplace's corpus, readout and `words.json`, as a file."""

    def write(text, name="run.toml"):
        (workplace / "words.json").write_text('{"joy": ["sun", "happy"]}')
        (workplace / name).write_text(f'model = "{tiny_checkpoint("llama")}"\n{text}')
        return workplace / name

    return write


def config(more="", ablation=""):
    return (
        f'[readout]\nfile = "readout.safetensors"\ncorpus = "corpus"\n[steering]\n{STEERING}\n{more}\n'
        f"[ablation]\nprobe_texts = 4\n{ablation}\n"
    )


@pytest.fixture(scope="module")
def done(written, tmp_path_factory):
    """Folder of a finished run of `config(WORDS)`."""
    settings, folder = written(config(WORDS)), tmp_path_factory.mktemp("done") / "run"
    with pytest.raises(SystemExit) as ended:
        main(["steer", "--config", str(settings), "--out", str(folder)])
    assert not ended.value.code
    return folder


@pytest.fixture
def finished(done, tmp_path):
    """A copy of that folder, elsewhere."""
    return shutil.copytree(done, tmp_path / "elsewhere" / "first")


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_is_a_folder_with_lines_a_summary_a_page_and_what_it_was_made_of(capsys, written, tmp_path):
    settings = written(config("seeds = [0, 4]\nsamples = 1"))
    code, out, err = run(capsys, "steer", "--config", settings, "--out", tmp_path)
    assert code == 0, err
    assert "seed 4" in out
    lines = rows(tmp_path / "results.jsonl")
    doses = [row for row in lines if row["kind"] == "dose"]
    removed = [row for row in lines if row["kind"] == "ablation"]
    assert {(row["seed"], row["concept"], row["layer"], row["dose"]) for row in doses} == {
        (seed, concept, 2, 0.4) for seed in (0, 4) for concept in ("joy", "grief")
    }
    assert all(len(row["by_prompt"]) == 11 for row in doses)
    assert {tuple(row["layers"]) for row in removed} == {(2,), (2, 3)}
    assert len(removed) == 2 * 2 * 2
    with (tmp_path / "summary.tsv").open() as file:
        summary = list(csv.DictReader(file, delimiter="\t"))
    assert [row["concept"] for row in summary] == ["joy", "grief"]
    assert summary[0]["seeds"] == "2"
    assert float(summary[0]["ablated_everywhere_fall"]) == pytest.approx(
        next(row["fall"] for row in removed if len(row["layers"]) == 2 and row["concept"] == "joy"), rel=1e-5
    )
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["reports"] == {"0": "seed-0/report.json", "4": "seed-4/report.json"}
    assert len(about["model"]["fingerprint"]) == len(about["readout"]["sha256"]) == len(about["corpus_sha256"]) == 64
    assert {"torch", "transformer-lens", "python"} <= set(about["versions"])
    page = (tmp_path / "report.html").read_text()
    assert "Causal check" in page
    samples = rows(tmp_path / "seed-4" / "samples.jsonl")
    assert {row["seed"] for row in samples} == {4}


def test_the_report_of_a_readout_shows_a_run_beside_its_diagnosis(
    capsys, finished, workplace, tiny_checkpoint, tmp_path
):
    report = (
        "report", "--training-data-dir", workplace / "corpus", "--readout", workplace / "readout.safetensors",
        "--model", tiny_checkpoint("llama"), "--out", tmp_path / "page.html", "--steering",
    )  # fmt: skip
    code, out, err = run(capsys, *report, finished, "--plots", tmp_path / "plots", "--json")
    assert code == 0, err
    files = json.loads(out)
    assert files["report"] == str(tmp_path / "page.html")
    assert "<svg" in Path(files["steering-effects"]).read_text()
    page = (tmp_path / "page.html").read_text()
    assert 'id="verdicts"' in page
    assert 'id="doses"' in page
    code, _, err = run(capsys, *report, tmp_path)
    assert code == 2
    assert "no finished run" in err


def test_a_second_run_measures_nothing_and_its_copied_settings_give_the_same(
    capsys, written, workplace, done, finished, tmp_path
):
    first, second, settings = finished, tmp_path / "second", written(config(WORDS))
    kept = (done / "blocks.jsonl").read_bytes()
    code, out, _ = run(capsys, "ablation-run", settings, "--out", done, "--json")
    assert code == 0
    assert json.loads(out)["reports"]
    assert (done / "blocks.jsonl").read_bytes() == kept
    (workplace / "words.json").unlink()
    assert run(capsys, "ablation-run", done / "config.toml", "--out", second)[0] == 0
    assert (second / "summary.tsv").read_bytes() == (first / "summary.tsv").read_bytes()
    code, out, err = run(capsys, "compare", first, second, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["comparable"]
    assert found["differs"] == []
    differences = [at for concept in found["concepts"] for at in concept["differences"]]
    assert len(differences) == 2
    assert all((at["difference"], at["low"], at["high"]) == (0, 0, 0) for at in differences)
    assert "have the same settings" in run(capsys, "compare", first, second)[1]


def test_a_folder_that_was_moved_can_be_run_again_with_nothing_else_at_hand(capsys, finished, workplace, tmp_path):
    inputs = finished / "inputs"
    assert (inputs / "readout.safetensors").read_bytes() == (workplace / "readout.safetensors").read_bytes()
    assert json.loads((inputs / "words" / "words.json").read_text()) == {"joy": ["sun", "happy"]}
    (workplace / "words.json").unlink(missing_ok=True)
    saved = finished / "config.toml"
    there = tomllib.loads(saved.read_text())["readout"]
    assert (there["file"], there["corpus"]) == ("inputs/readout.safetensors", "inputs/corpus")
    saved.write_text(saved.read_text().replace(there["activations"], "gone"))  # as on another machine
    code, out, err = run(capsys, "steer", "--config", saved, "--out", tmp_path / "second")
    assert code == 0, err
    assert "capture" in out
    code, out, err = run(capsys, "compare", finished, tmp_path / "second", "--json")
    assert json.loads(out)["differs"] == []
    assert all(
        at["difference"] == pytest.approx(0, abs=1e-4)
        for concept in json.loads(out)["concepts"] for at in concept["differences"]
    )  # fmt: skip


def test_a_folder_keeps_the_files_of_its_own_run(capsys, written, workplace, finished):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    other = workplace / "other"
    other.mkdir()
    for path in workplace.glob("readout.*"):
        (other / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((other / "readout.json").read_text())
    (other / "readout.json").write_text(json.dumps(manifest, indent=1))
    text = config(WORDS).replace('"readout.safetensors"', '"other/readout.safetensors"')
    text = text.replace('corpus = "corpus"', 'corpus = "corpus"\nactivations = "activations"')
    code, _, err = run(capsys, "steer", "--config", written(text, "other.toml"), "--out", finished)
    assert code == 2
    assert "another inputs/readout.json" in err
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_copies_keep_apart_what_has_one_name_and_take_every_format_of_a_readout(workplace, tmp_path):
    words = tmp_path / "readout.json"
    words.write_text('{"joy": ["sun"]}')
    vector = tmp_path / "joy.gguf"
    vector.write_bytes(control_vector_bytes({2: np.ones(64, np.float32)}, "llama"))
    for number, file in enumerate((workplace / "readout.safetensors", vector)):
        settings = RunSettings(ReadoutSettings(str(file)), steering=SteeringSettings(words=str(words)))
        found = archived(settings, None, tmp_path / str(number))
        assert load_readout(found.readout.file).concepts == load_readout(file).concepts
        assert read_words(Path(found.steering.words)) == {"joy": ("sun",)}
        assert found.readout.activations is None, "there is no corpus that they could be of"
        assert archived(settings, None, tmp_path / str(number)) == found, "a second time changes nothing"


def test_a_copy_of_the_corpus_that_a_kill_cut_off_is_made_again(workplace, tmp_path):
    corpus, settings = (
        read_corpus(workplace / "corpus"),
        RunSettings(ReadoutSettings(str(workplace / "readout.safetensors"))),
    )
    found = archived(settings, corpus, tmp_path)
    (tmp_path / "inputs" / "corpus" / "corpus.json").unlink()
    assert archived(settings, corpus, tmp_path) == found
    assert read_corpus(found.readout.corpus).sha256 == corpus.sha256


def test_a_readout_is_trained_where_none_is_given(capsys, written, tmp_path):
    source = 'corpus = "corpus"\nactivations = "activations"\ntarget_layers = [2]\naggregator = "mean"'
    text = f"[readout]\n{source}\n[steering]\n{STEERING}\n[ablation]\nprobe_texts = 4"
    assert run(capsys, "ablation-run", written(text), "--out", tmp_path)[0] == 0
    settings = tomllib.loads((tmp_path / "config.toml").read_text())
    assert settings["readout"]["aggregator"] == "mean"
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["readout"]["estimator"] == "mean"
    assert (tmp_path / "readout.safetensors").exists()


def test_a_run_of_steer_and_an_ablation_run_can_be_compared(capsys, written, workplace, tiny_checkpoint, tmp_path):
    data = ("--training-data-dir", workplace / "corpus", "--model", tiny_checkpoint("llama"))
    steer = ("steer", "--readout", workplace / "readout.safetensors", "--concepts", "joy,grief", "--layers", "2")
    first, second = tmp_path / "first", tmp_path / "second"
    few = ("--doses", "0,0.4", "--random", 4, "--probe-texts", 4)
    code, out, _ = run(capsys, *steer, *data, *few, "--out", first, "--json")
    assert code == 0
    assert [found["concept"] for found in json.loads(out)["concepts"]] == ["joy", "grief"]
    assert run(capsys, "ablation-run", written(config(ablation="layers = []")), "--out", second)[0] == 0
    code, out, err = run(capsys, "compare", first, second)
    assert code == 0, err
    assert "random" in out
    assert "ablate" in out
    found = json.loads(run(capsys, "compare", first, second, "--json")[1])
    assert [at["difference"] for concept in found["concepts"] for at in concept["differences"]] == [0, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[readout]\nfile = "nowhere.safetensors"', "nowhere.safetensors"),
        ('[readout]\nfile = "readout.safetensors"\n[steering]\nrandom = "many"', "steering.random"),
        ('[readout]\nfile = "readout.safetensors"\n[steering]\nlevel = 0.1', "`level`"),
        ('[readout]\nfile = "readout.safetensors"\n[steering]\nconcepts = ["nothing"]', "nothing"),
        ('[readout]\nfile = "readout.safetensors"\n[steering]\nlayers = [0]', "does not have the layer"),
        ('[readout]\ncorpus = "corpus"\n[steering]\nconcepts = ["nothing"]', "nothing"),
        ('[readout]\ncorpus = "corpus"\naggregator = "best"', "best"),
    ],
)
def test_mistakes_are_one_message_before_a_model_is_loaded(capsys, written, tmp_path, monkeypatch, text, said):
    def loaded(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("amygdala_tl.lens.model.load_checkpoint", loaded)
    code, _, err = run(capsys, "ablation-run", written(text, "mistake.toml"), "--out", tmp_path / "out")
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "out" / "run.json").exists()


def test_the_settings_file_says_which_concepts_must_steer(capsys, written, tmp_path):
    enough = STEERING.replace("random = 3", "random = 10")
    text = f'[readout]\nfile = "readout.safetensors"\n[steering]\n{enough}\n[check]\nconcepts = ["grief"]'
    code, _, err = run(capsys, "steer", "--config", written(text), "--out", tmp_path / "out")
    assert code == 1
    assert "check: grief" in err
    assert "joy" not in err
    code, _, err = run(
        capsys, "steer", "--config", written(text.replace('= ["grief"]', '= ["calm"]')), "--out", tmp_path
    )
    assert code == 2
    assert "calm, which `steering.concepts` leaves out" in err


def test_compare_fails_where_a_verdict_got_worse(capsys, tmp_path):
    for name, run_ in (("first", example_run(4)), ("second", example_run(3))):
        write_seed(tmp_path / name, run_.reports[0], ())
        write_run(tmp_path / name, run_, [""])
    folders = (tmp_path / "first", tmp_path / "second")
    assert run(capsys, "compare", *folders)[0] == 0
    code, _, err = run(capsys, "compare", *folders, "--check")
    assert code == 1
    assert f"worse in second: {example_run(4).plan.concepts[3]}" in err
    assert run(capsys, "compare", *reversed(folders), "--check")[0] == 0


def test_compare_takes_two_readouts_and_fails_where_a_verdict_got_worse(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    worse = {**VERDICTS, "awe": replace(VERDICTS["awe"], verdict="weak", auroc=0.75)}
    a_readout().save("old.safetensors")
    a_readout(verdicts=worse, corpus_sha256="d" * 64).save("new.safetensors")
    code, out, err = run(capsys, "compare", "old.safetensors", "new.safetensors")
    assert code == 0, err
    assert "awe readable \u2192 weak 0.875 \u2192 0.750 -0.125 +1.000 +1.000" in " ".join(out.split())
    assert "cccccccccccc" in out
    code, out, err = run(capsys, "compare", "old.safetensors", "new.safetensors", "--check", "--json")
    assert code == 1
    assert "worse in new.safetensors: awe" in err
    found = json.loads(out)
    assert found["worse"] == ["awe"]
    assert found["concepts"][0]["cosines"] == pytest.approx({"3": 1.0, "10": 1.0}, abs=1e-3)
    assert run(capsys, "compare", "new.safetensors", "old.safetensors", "--check")[0] == 0
    code, _, err = run(capsys, "compare", "old.safetensors", tmp_path)
    assert code == 2
    assert "a readout and a run of `steer` cannot be compared" in err


def test_a_folder_without_a_finished_run_is_one_message(capsys, tmp_path):
    code, _, err = run(capsys, "compare", tmp_path, tmp_path)
    assert code == 2
    assert "no finished run" in err
    (tmp_path / "report.json").write_text("[1, 2")
    assert run(capsys, "compare", tmp_path, tmp_path)[0] == 2
    (tmp_path / "report.json").write_text('{"plan": {}}')
    assert run(capsys, "compare", tmp_path, tmp_path)[0] == 2
