"""A readout of a folder of texts that was trained with another `--min-examples`: the commands find its corpus again."""

import pytest

import amygdala_tl as at
from amygdala_tl.api.inputs import corpus_of
from tests.cli.conftest import run

KEPT = ("joy", "grief")
LEFT_OUT = "calm"  # has enough for the default of 5, and too few for 8
SUBJECTS = (
    "lamp",
    "gull",
    "ferry",
    "harbour",
    "bread",
    "letter",
    "window",
    "road",
    "kettle",
    "orchard",
    "boat",
    "rain",
)
PLACES = ("the harbour", "the hill", "the kitchen", "the yard")


def texts(concept, polarity, count):
    for number in range(count):
        subject, place = SUBJECTS[number % len(SUBJECTS)], PLACES[number // len(SUBJECTS) % len(PLACES)]
        yield f"{number}. The {subject} at {place}, {concept}, {polarity}: nobody had anything more to say of it."


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_checkpoint):
    folder = tmp_path_factory.mktemp("folder")
    for concept, count in (*((name, 24) for name in KEPT), (LEFT_OUT, 7)):
        for polarity in ("positive", "negative"):
            (folder / "data" / concept / polarity).mkdir(parents=True)
            for number, text in enumerate(texts(concept, polarity, count)):
                (folder / "data" / concept / polarity / f"{number}.txt").write_text(text)
    return folder


@pytest.fixture
def arguments(trained, capsys, tiny_checkpoint):
    """Data and model of a readout that is trained once."""
    data, model = ("--training-data-dir", trained / "data"), ("--model", tiny_checkpoint("llama"))
    output = trained / "readout.safetensors"
    if not output.exists():
        how = ("--min-examples", 8, "--target-layers", "1,2", "--aggregator", "mean")
        assert run(capsys, "train", *data, "--output", output, *model, *how)[0] == 0
    return (*data, "--readout", output), model


def test_the_folder_would_be_another_corpus_by_default(trained, arguments):
    """Else nothing below proves anything."""
    readout = at.load_readout(trained / "readout.safetensors")
    assert set(readout.concepts) == set(KEPT)
    by_default = at.read_training_data(trained / "data")
    assert LEFT_OUT in by_default.concepts
    assert by_default.sha256 != readout.provenance.corpus_sha256
    assert readout.provenance.corpus["min_examples"] == 8
    assert corpus_of(readout, trained / "data").sha256 == readout.provenance.corpus_sha256


@pytest.mark.parametrize("command", ["quality", "crosstalk"])
def test_the_commands_that_run_no_model_take_it(capsys, arguments, command):
    data, _ = arguments
    code, out, err = run(capsys, command, *data)
    assert code == 0, err
    assert all(name in out for name in KEPT)
    assert LEFT_OUT not in out


def test_report_takes_it(capsys, arguments, tmp_path):
    data, model = arguments
    code, out, err = run(capsys, "report", *data, *model, "--out", tmp_path / "page.html")
    assert code == 0, err
    assert "2 concepts on all texts" in out
    assert (tmp_path / "page.html").exists()


def test_evaluate_knows_it_for_its_own_corpus_of_which_nothing_was_held_out(capsys, trained, arguments):
    data, model = arguments
    code, _, err = run(capsys, "evaluate", "--data", trained / "data", *data, *model)
    assert code == 2
    assert "the readout was trained on all of these texts" in " ".join(err.split())


def test_another_folder_is_still_refused(capsys, trained, arguments):
    data, _ = arguments
    more = trained / "data" / KEPT[0] / "positive" / "more.txt"
    more.write_text("Another note, of which the readout knows nothing at all, by the window.")
    try:
        code, _, err = run(capsys, "quality", *data)
    finally:
        more.unlink()
    assert code == 2
    assert "trained on another corpus" in err
