"""`steer` on a tiny model, as a user runs it."""

import json

import pytest

from tests.cli.conftest import run

CHEAP = ("--doses", "0,0.4", "--random", 3, "--layers", "2", "--concepts", "joy,grief", "--probe-texts", 4)


@pytest.fixture
def steer(capsys, workplace, tiny_checkpoint):
    """`steer` on the workplace's readout."""

    def call(*arguments):
        common = ("--readout", workplace / "readout.safetensors", "--model", tiny_checkpoint("llama"))
        return run(capsys, "steer", *common, *arguments)

    return call


def test_steer_shows_a_verdict_a_concept_and_writes_a_report_and_samples(steer, workplace, tmp_path):
    data = ("--training-data-dir", workplace / "corpus")
    code, out, err = steer(*CHEAP, *data, "--samples", 2, "--out", tmp_path)
    assert code == 0, err
    assert "joy" in out
    assert "grief" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert [found["concept"] for found in report["concepts"]] == ["joy", "grief"]
    assert report["controls"]["shuffled"] >= 6
    (layer,) = report["concepts"][0]["layers"]
    assert layer["layer"] == 2
    assert layer["ablation"]["texts"] == 4
    assert layer["doses"][0]["reads"] is not None
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 2 * 2 * 2 * 2  # concepts, doses, prompts, samples
    assert [(each["concept"], each["dose"], each["texts"]) for each in report["heard"]] == [
        ("joy", 0.4, 4), ("grief", 0.4, 4),
    ]  # fmt: skip
    assert "heard in continuations" in out
    plain = {
        (row["prompt"], row["seed"]): row["text"] for row in samples if row["dose"] == 0 and row["concept"] == "joy"
    }
    again = {
        (row["prompt"], row["seed"]): row["text"] for row in samples if row["dose"] == 0 and row["concept"] == "grief"
    }
    assert plain == again


def test_a_second_run_adds_nothing_to_the_journal_and_says_the_same(steer, tmp_path):
    first = steer(*CHEAP, "--samples", 1, "--out", tmp_path)
    kept = (tmp_path / "blocks.jsonl").read_bytes()
    report = (tmp_path / "report.json").read_bytes()
    assert steer(*CHEAP, "--samples", 1, "--out", tmp_path) == first
    assert (tmp_path / "blocks.jsonl").read_bytes() == kept
    assert (tmp_path / "report.json").read_bytes() == report


def test_check_fails_if_a_concept_does_not_steer(steer, tmp_path):
    enough = (*CHEAP, "--random", 10)
    code, _, err = steer(*enough, "--check", "--out", tmp_path)
    assert code == 1
    assert "check: " in err
    assert "does not steer" in err
    assert "no ablation can be significant: with 10 controls, where 20 are the fewest" in err
    assert steer(*enough, "--out", tmp_path)[0] == 0  # a check is no other setting: nothing is measured differently


def test_with_too_few_random_directions_nothing_can_pass_and_it_says_so(steer, tmp_path):
    code, _, err = steer(*CHEAP, "--out", tmp_path)
    assert code == 0
    assert "nothing can pass" in err
    assert "Nothing can pass" in json.loads((tmp_path / "report.json").read_text())["concepts"][0]["reason"]
    code, _, err = steer(*CHEAP, "--check", "--out", tmp_path / "other")
    assert code == 2
    assert "cannot pass" in err
    assert not (tmp_path / "other").exists()


def test_a_folder_of_other_settings_is_refused_and_stays_as_it_is(steer, workplace, tmp_path):
    assert steer(*CHEAP, "--out", tmp_path)[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path.parent / "words.json").write_text('{"joy": ["sun"]}')
    for other, said in (
        (("--doses", "0,0.2"), "steering.doses"),
        (("--training-data-dir", workplace / "corpus"), "readout.corpus"),
        (("--words", tmp_path.parent / "words.json"), "steering.words"),
    ):
        code, _, err = steer(*CHEAP, *other, "--out", tmp_path)
        assert code == 2
        assert "other settings" in err
        assert said in err
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_words_that_count_are_shown(steer, tmp_path):
    code, out, err = steer(*CHEAP, "--out", tmp_path)
    assert code == 0
    assert all(word in out for word in json.loads((tmp_path / "report.json").read_text())["concepts"][1]["words"])
    assert "no word list" not in out + err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--concepts", "joy,nothing"), "nothing"),
        (("--layers", "0"), "does not have the layer"),
        (("--doses", "0"), "--doses"),
        (("--doses", "much"), "--doses"),
        (("--doses", "-1,1"), "doses"),
        (("--ablate", "each,somewhere"), "--ablate"),
        (("--erase", "leace,somehow"), "--erase"),
    ],
)
def test_mistakes_are_one_message(steer, tmp_path, arguments, said):
    code, _, err = steer(*arguments, "--out", tmp_path)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_a_word_list_is_read_and_a_bad_one_refused(steer, tmp_path):
    (tmp_path / "words.json").write_text('{"joy": ["sun"], "grief": ["rain", "night"]}')
    assert steer(*CHEAP, "--words", tmp_path / "words.json", "--out", tmp_path / "out")[0] == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["concepts"][1]["words"] == ["rain", "night"]
    (tmp_path / "words.json").write_text('{"joy": "sun"}')
    code, _, err = steer(*CHEAP, "--words", tmp_path / "words.json", "--out", tmp_path / "out")
    assert code == 2
    assert "word list" in err


def test_options_beside_a_settings_file_are_refused(capsys, tmp_path):
    (tmp_path / "run.toml").write_text('[readout]\ncorpus = "."')
    for option in (("--random", 5), ("--training-data-dir", tmp_path), ("--seed", 0)):
        code, _, err = run(capsys, "steer", "--config", tmp_path / "run.toml", *option, "--out", tmp_path / "out")
        assert code == 2
        assert option[0] in err
    assert not (tmp_path / "out").exists()


def test_the_settings_of_a_run_repeat_it(steer, capsys, workplace, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert steer(*CHEAP, "--training-data-dir", workplace / "corpus", "--seed", 3, "--out", first)[0] == 0
    code, _, err = run(capsys, "steer", "--config", first / "config.toml", "--out", second)
    assert code == 0, err
    assert (second / "seed-3" / "report.json").read_bytes() == (first / "report.json").read_bytes()
    assert (second / "summary.tsv").read_bytes() == (first / "summary.tsv").read_bytes()
    assert "Causal check" in (first / "report.html").read_text()


def test_suggested_words_are_shown_and_written_for_a_later_check_and_nothing_is_tested(steer, workplace, tmp_path):
    words = tmp_path / "words.json"
    code, out, err = steer(
        "--concepts", "joy,grief", "--training-data-dir", workplace / "corpus", "--suggest-words", words
    )
    assert code == 0, err
    assert "near the name in the model" in out
    assert set(json.loads(words.read_text())) <= {"joy", "grief"}
    assert sorted(tmp_path.iterdir()) == [words]
    code, _, err = steer("--suggest-words", workplace / "readout.json")
    assert code == 2
    assert "would replace an input" in err
