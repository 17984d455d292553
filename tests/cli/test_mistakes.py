"""A user's mistake gets one message that says what, where and what to do, and exit code 2; never a traceback."""

import shutil
import subprocess
import sys
import textwrap

import pytest

from amygdala_tl.corpus.io import read_corpus, write_corpus
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.memory.graph_file import read_graph_file
from tests.cli.conftest import run


def message(capsys, *arguments):
    """The one message of a command that must refuse."""
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "Traceback" not in err
    assert err.startswith("error: ")
    assert err.count("error:") == 1
    return err


GRAPH = ("--memory-file", demo_graph_path())


def test_a_server_that_is_down_is_named(capsys, tmp_path):
    said = message(capsys, "extract", "--memory-mcp-url", "http://127.0.0.1:1/mcp", "--output-dir", tmp_path / "c")
    assert "127.0.0.1:1" in said
    assert "Check that the server runs" in said


def test_a_graph_without_tags_says_what_a_tag_line_is(capsys, tmp_path):
    (tmp_path / "g").write_text(
        '{"type":"entity","name":"a","entityType":"note","observations":["No tags in here."]}\n'
    )
    said = message(capsys, "extract", "--memory-file", tmp_path / "g", "--output-dir", tmp_path / "c")
    assert "no tags found" in said
    assert "warmth:9" in said


def test_too_few_examples_for_every_concept_names_the_best(capsys, tmp_path):
    said = message(capsys, "extract", *GRAPH, "--output-dir", tmp_path / "c", "--min-examples", 400)
    assert "`min_examples`" in said


@pytest.mark.parametrize("layers", ["40", "-5", "1.5", "middle"])
def test_an_unknown_layer_says_which_there_are(capsys, workplace, tiny_checkpoint, layers):
    said = message(
        capsys, "train", "--training-data-dir", workplace / "corpus", "--output", workplace / "x.safetensors",
        "--model", tiny_checkpoint("llama"), f"--target-layers={layers}",
    )  # fmt: skip
    assert "0..3" in said
    assert "`layers`" in said


@pytest.mark.parametrize(
    ("command", "wrong", "said"),
    [
        ("train", "--target-layers=40", "0..3"),
        ("train", "--aggregator=median", "no such aggregator"),
        ("train", "--denoise=noise", "noise"),
        ("capture", "--target-layers=40", "0..3"),
    ],
)
def test_a_wrong_layer_or_name_is_told_before_the_weights_are_read(
    capsys, workplace, tiny_checkpoint, tmp_path, command, wrong, said
):
    model = tmp_path / "model"  # without weights
    model.mkdir()
    shutil.copy(tiny_checkpoint("llama") / "config.json", model)
    where = ("--output", tmp_path / "x.safetensors") if command == "train" else ("--activations-dir", tmp_path / "a")
    data = ("--training-data-dir", workplace / "corpus", "--model", model)
    assert said in message(capsys, command, *data, *where, wrong)


@pytest.mark.parametrize("model", ["./no-such-folder", "no-such.gguf"])
def test_a_model_that_is_not_there_is_named(capsys, workplace, model):
    data = ("--training-data-dir", workplace / "corpus", "--output", workplace / "x.safetensors")
    assert model in message(capsys, "train", *data, "--model", model)


def test_a_folder_that_is_no_checkpoint_says_what_is_missing(capsys, workplace):
    data = ("--training-data-dir", workplace / "corpus", "--output", workplace / "x.safetensors")
    assert "config.json" in message(capsys, "train", *data, "--model", workplace / "corpus")


def test_a_damaged_checkpoint_is_named(capsys, workplace, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"')
    data = ("--training-data-dir", workplace / "corpus", "--output", workplace / "x.safetensors")
    assert str(tmp_path) in message(capsys, "train", *data, "--model", tmp_path)


def test_an_output_folder_that_is_a_file_is_named(capsys, tmp_path):
    (tmp_path / "c").write_text("x")
    assert str(tmp_path / "c") in message(capsys, "extract", *GRAPH, "--output-dir", tmp_path / "c")


def test_an_output_that_cannot_be_written_is_named(capsys, workplace, tiny_checkpoint):
    said = message(
        capsys, "train", "--training-data-dir", workplace / "corpus", "--output", "/proc/none/readout.safetensors",
        "--activations-dir", workplace / "activations", "--model", tiny_checkpoint("llama"), "--target-layers", "2,3",
        "--aggregator", "mean",
    )  # fmt: skip
    assert "/proc/none" in said


def test_a_full_disk_is_one_message_and_leaves_no_half_file(tmp_path):
    program = textwrap.dedent(f"""
        import resource, signal
        from amygdala_tl.cli.main import main
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        main(["extract", "--memory-file", {str(demo_graph_path())!r}, "--output-dir", {str(tmp_path / "c")!r}])
    """)
    # -B: the limit would cut compiled modules in two, for every later process.
    done = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "c") in done.stderr
    assert list((tmp_path / "c").iterdir()) == []


def test_a_damaged_corpus_is_named(capsys, workplace, tmp_path):
    write_corpus(read_corpus(workplace / "corpus"), tmp_path / "c")
    rows = (tmp_path / "c" / "texts.jsonl").read_text()
    (tmp_path / "c" / "texts.jsonl").write_text(rows.replace("the", "teh", 1))
    data = ("--training-data-dir", tmp_path / "c", "--output", tmp_path / "x.safetensors")
    assert "texts.jsonl" in message(capsys, "train", *data)


def test_a_bundle_that_is_not_there_or_no_bundle_is_named(capsys, tmp_path):
    assert "x.json" in message(capsys, "inspect", tmp_path / "x.safetensors")
    assert ".safetensors" in message(capsys, "inspect", tmp_path / "x.pt")


def test_unknown_layers_and_concepts_of_a_bundle_say_which_there_are(capsys, workplace):
    readout = ("--readout", workplace / "readout.safetensors")
    assert "2, 3" in message(capsys, "read", "A text.", "--layer", 1, *readout)
    assert "grief" in message(capsys, "read", "A text.", "--concept", "greif", *readout)
    assert "--file" in message(capsys, "read", *readout)


def test_a_wrong_tag_name_or_type_is_told(capsys, tmp_path):
    said = message(capsys, "extract", *GRAPH, "--output-dir", tmp_path / "c", "--node-types", "poem")
    assert "episodicDaily" in said
    assert len(read_graph_file(demo_graph_path())) == 756
