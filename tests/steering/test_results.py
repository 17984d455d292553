"""Results folders: written, read back, and still read where an older version wrote them."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from amygdala_tl.errors import InputError
from amygdala_tl.report.page import steering_html
from amygdala_tl.steering.comparing import compare_runs
from amygdala_tl.steering.results import SteeringRun, read_run, write_run, write_seed
from tests.report.steering_example import example_run

OLD = Path(__file__).parent / "old"
"""Folders that version 0.1.0 wrote: one of `ablation-run` with two seeds, one of `steer` without a corpus."""


def holds(new, old):
    """Whether everything of an older version is there, as it was; a newer version may say more."""
    if isinstance(old, dict):
        return all(key in new and holds(new[key], value) for key, value in old.items())
    if isinstance(old, list):
        return len(new) == len(old) and all(map(holds, new, old))
    return new == old


def write(folder, run):
    """The folder of a run with as many subfolders as seeds."""
    places = [f"seed-{report.plan.seed}" for report in run.reports]
    for report, place in zip(run.reports, places, strict=True):
        samples = [each for each in run.samples if report is run.reports[0]]
        write_seed(folder / place, report, samples)
    write_run(folder, run, places)
    return folder


def test_a_run_comes_back_as_it_was(tmp_path):
    run = example_run(5, seeds=(0, 3))
    assert read_run(write(tmp_path / "example", run)) == run


def test_numbers_that_json_does_not_know_come_back_as_nan(tmp_path):
    run = example_run(2)
    (report,) = run.reports
    first = report.concepts[0]
    nan = float("nan")
    dose = replace(first.layers[0].doses[0], effect=nan, by_prompt=(nan, 1.0))
    ablation = replace(first.layers[0].ablation, fall=nan, low=None)
    layer = replace(first.layers[0], doses=(dose, *first.layers[0].doses[1:]), spearman=nan, ablation=ablation)
    crosstalk = replace(report.crosstalk[0], effect=((nan, 1.0), (1.0, nan)))
    changed = replace(report, concepts=(replace(first, layers=(layer,)), *report.concepts[1:]), crosstalk=(crosstalk,))
    write(tmp_path, replace(run, reports=(changed,)))
    assert json.loads((tmp_path / "seed-0" / "report.json").read_text())["crosstalk"][0]["effect"][0] == [None, 1.0]
    back = read_run(tmp_path).reports[0]
    layer = back.concepts[0].layers[0]
    assert str(layer.doses[0].effect) == str(layer.spearman) == str(layer.ablation.fall) == "nan"
    assert str(layer.doses[0].by_prompt) == "(nan, 1.0)"
    assert layer.ablation.low is None
    assert str(back.crosstalk[0].effect) == "((nan, 1.0), (1.0, nan))"


@pytest.mark.parametrize("name", ["ablation-run", "steer"])
def test_folders_of_an_older_version_are_read_compared_and_drawn(name, tmp_path):
    run = read_run(OLD / name)
    assert [found.concept for found in run.reports[0].concepts] == ["joy", "grief"]
    assert run.about.model.id == "llama"
    assert len(run.about.model.fingerprint) == 64
    assert set(run.about.words) == {"joy", "grief"}
    # Every number of the report is still there.
    for path, report in zip(sorted((OLD / name).rglob("report.json")), run.reports, strict=True):
        assert holds(report.as_json(), json.loads(path.read_text()))
    assert len(run.samples) == (16 if name == "ablation-run" else 0)
    again = compare_runs(run, run)
    assert again.differs == again.obstacles == again.notes == ()
    assert all(at.difference == 0 and at.paired for found in again.concepts for at in found.differences)
    assert "Causal check" in steering_html(run)


def test_the_lines_and_the_table_are_those_of_an_older_version(tmp_path):
    run = read_run(OLD / "ablation-run")
    write_run(tmp_path, run, ["seed-0", "seed-4"])
    assert (tmp_path / "summary.tsv").read_text() == (OLD / "ablation-run" / "summary.tsv").read_text()
    new, old = (
        [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
        for folder in (tmp_path, OLD / "ablation-run")
    )
    assert holds(new, old)


def test_every_line_says_which_seed_concept_and_layer_it_is_of(tmp_path):
    write(tmp_path, example_run(3, seeds=(0, 1)))
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    doses = [(row["seed"], row["concept"], row["layer"], row["dose"]) for row in rows if row["kind"] == "dose"]
    assert len(doses) == len(set(doses)) == 2 * 3 * 3 * 4
    with (tmp_path / "summary.tsv").open() as file:
        assert [row["seeds"] for row in csv.DictReader(file, delimiter="\t")] == ["2"] * 3


def test_a_spreadsheet_takes_no_name_for_a_formula_and_a_number_stays_one(tmp_path):
    run, names = example_run(2), ("=HYPERLINK(1)", "@joy")
    for report in run.reports:
        concepts = tuple(replace(one, concept=name) for one, name in zip(report.concepts, names, strict=True))
        run = replace(run, reports=(replace(report, concepts=concepts, plan=replace(report.plan, concepts=names)),))
    write(tmp_path, run)
    with (tmp_path / "summary.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["concept"] for row in rows] == ["'=HYPERLINK(1)", "'@joy"]
    assert all(math.isfinite(float(row["effect"])) for row in rows)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("report.json", "{}", "plan"),
        ("report.json", '{"plan": 3}', "plan"),
        ("report.json", '{"plan": {"concepts": [], "layers": [], "doses": ["much"]}}', "plan.doses"),
        ("report.json", "{1, 2", "JSON"),
        ("run.json", '{"format": 7}', "another version"),
        ("run.json", '{"format": 1, "reports": ["report.json"]}', "reports"),
        ("run.json", '{"format": 1, "reports": {"0": "nowhere.json"}}', "no nowhere.json"),
        ("samples.jsonl", '{"concept": "joy"}', "samples.jsonl, line 1"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, file, text, said):
    (tmp_path / "report.json").write_bytes((OLD / "steer" / "report.json").read_bytes())
    (tmp_path / file).write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_run(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_folder_without_run_json_has_its_report_alone(tmp_path):
    (tmp_path / "report.json").write_bytes((OLD / "steer" / "report.json").read_bytes())
    run = read_run(tmp_path)
    assert run.about is None
    assert "does not say" in compare_runs(run, run).notes[0]


def test_a_run_shows_its_verdicts():
    run = example_run(3)
    assert isinstance(run, SteeringRun)
    names = run.plan.concepts
    verdicts = [found.verdict for found in run.reports[0].concepts]
    assert repr(run) == f"SteeringRun({', '.join(f'{n}: {v}' for n, v in zip(names, verdicts, strict=True))})"
