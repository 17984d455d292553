"""The commands on the demo graph and a tiny model, as a user runs them."""

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest

from amygdala_tl.demo import demo_graph_path
from amygdala_tl.readout.record import load_readout
from tests.cli.conftest import assert_serving_command, run
from tests.watched import WATCH


def test_extract_says_what_came_out_and_what_was_dropped(capsys, tmp_path):
    graph = tmp_path / "graph.jsonl"
    note = '{"type":"entity","name":"journal-2031-12-31.md#s","entityType":"journal","observations":["Short.\\n\\nawe:9"]}\n'
    graph.write_text(demo_graph_path().read_text() + note + note.replace("#s", "#t").replace("awe:9", "awe:11 joy:12"))
    code, out, _ = run(capsys, "extract", "--memory-file", graph, "--output-dir", tmp_path / "c", "--top-emotions", 3)
    assert code == 0
    assert "748 texts (48 neutral)" in out
    assert "no example of any concept: 8" in out
    assert "3 concepts" in out
    assert "too short: 2" in out
    assert "score outside 0-10 (ignored): 2" in out
    assert json.loads((tmp_path / "c" / "corpus.json").read_text())["parameters"]["top_emotions"] == 3


def test_an_emotions_file_names_the_concepts(capsys, some_graph, tmp_path):
    (tmp_path / "names.txt").write_text("# mine\nGrief\njoy  # and this\n\n")
    arguments = ("--memory-file", some_graph, "--output-dir", tmp_path / "c")
    code, out, _ = run(capsys, "extract", *arguments, "--emotions-file", tmp_path / "names.txt", "--json")
    assert code == 0
    assert json.loads(out)["concepts"].keys() == {"grief", "joy"}
    assert json.loads((tmp_path / "c" / "corpus.json").read_text())["concepts"] == ["grief", "joy"]


def test_train_is_capture_fit_and_export(capsys, workplace, tiny_checkpoint, tmp_path):
    data = ("--training-data-dir", workplace / "corpus")
    store, fitted = tmp_path / "activations", tmp_path / "fit.safetensors"
    layers = ("--model", tiny_checkpoint("llama"), "--target-layers", "2,3")
    assert run(capsys, "capture", *data, "--activations-dir", store, *layers)[0] == 0
    plain = ("--aggregator", "mean")
    assert run(capsys, "fit", *data, "--activations-dir", store, "--output", fitted, *plain)[0] == 0
    output = tmp_path / "readout.safetensors"
    assert run(capsys, "export", "--fit-file", fitted, "--output", output)[0] == 0
    apart, joined = load_readout(output), load_readout(workplace / "readout.safetensors")
    assert apart.layers == joined.layers == (2, 3)
    assert (apart.vectors - joined.vectors).abs().max() < 2e-3


def test_a_second_train_runs_no_text_again(capsys, workplace, tiny_checkpoint):
    arguments = ("--training-data-dir", workplace / "corpus", "--output", workplace / "readout.safetensors")
    model = ("--model", tiny_checkpoint("llama"), "--target-layers", "2,3", "--aggregator", "mean")
    code, out, _ = run(capsys, "train", *arguments, *model)
    assert code == 0
    assert "the store already has all" in out
    assert_serving_command(out, workplace / "readout.safetensors", tiny_checkpoint("llama"))


def test_the_program_names_its_versions_and_completes_its_commands(capsys):
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert (
        f"amygdala-tl {metadata.version('amygdala-tl')}, transformer-lens {metadata.version('transformer-lens')}" in out
    )
    asked = {"_AMYGDALA_TL_COMPLETE": "complete_bash", "COMP_WORDS": "amygdala-tl rep", "COMP_CWORD": "1"}
    program = [sys.executable, "-c", "from amygdala_tl.cli.main import main; main()"]
    done = subprocess.run(program, env=os.environ | asked, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["report"]


def test_inspect_says_what_the_bundle_is(capsys, workplace):
    code, out, _ = run(capsys, "inspect", workplace / "readout.safetensors")
    assert code == 0
    for part in ("7 concepts", "blocks.2.hook_resid_post", "pooled", "aggregator mean", "tokens"):
        assert part in out


WATCHED = (
    WATCH
    + """
from amygdala_tl.cli.main import main

for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as ended:
        assert not ended.code, (arguments, ended.code)
assert not seen, seen
"""
)


def test_no_command_on_a_local_model_opens_a_connection_or_starts_a_program(workplace, tiny_checkpoint, tmp_path):
    data, readout = ("--training-data-dir", workplace / "corpus"), ("--readout", tmp_path / "r.safetensors")
    model, cheap = (
        ("--model", tiny_checkpoint("qwen3")),
        ("--layers", "1", "--doses", "0,0.2", "--random", "3", "--ablate", ""),
    )
    steps = [
        ("train", *data, "--output", readout[1], "--target-layers", "1,2", *model),
        ("read", *readout, *model, "The tide came in again."),
        ("evaluate", *readout, *model, "--data", workplace / "corpus"),
        ("quality", *readout, *data, "--concepts", "joy", *model),
        ("steer", *readout, *data, *model, *cheap, "--out", tmp_path / "s"),
        ("report", *readout, *data, *model, "--steering", tmp_path / "s", "--out", tmp_path / "report.html"),
    ]  # fmt: skip
    commands = json.dumps([[str(part) for part in step] for step in steps])
    environment = {name: value for name, value in os.environ.items() if "OFFLINE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, commands], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shared", [False, True])
def test_what_commands_write_is_private_unless_it_is_shared(capsys, some_graph, tiny_checkpoint, tmp_path, shared):
    more = ("--shared",) if shared else ()
    data, out = tmp_path / "corpus", tmp_path / "r.safetensors"
    model = ("--model", tiny_checkpoint("llama"), "--target-layers", "1", "--aggregator", "mean")
    assert run(capsys, "extract", "--memory-file", some_graph, "--output-dir", data, *more)[0] == 0
    assert run(capsys, "train", "--training-data-dir", data, "--output", out, *model, *more)[0] == 0
    private = [data, *data.iterdir(), *(tmp_path / "activations").rglob("*"), tmp_path / "activations"]
    assert len(private) > 8
    for path in private:
        if path.name == ".capturing":  # an empty file that processes lock
            continue
        mode = path.stat().st_mode & 0o777
        assert mode == (0o755 if path.is_dir() else 0o644) & (0o777 if shared else 0o700), path


LOOKING = """
import sys
from amygdala_tl.cli.main import main

def run(*arguments):
    try:
        main(arguments)
    except SystemExit as ended:
        assert not ended.code, ended.code
    return {"httpx", "torch", "transformers", "transformer_lens"} & set(sys.modules)

readout, data = sys.argv[1:]
assert run("inspect", readout) == set(), "inspect"
assert run("crosstalk", "--readout", readout, "--training-data-dir", data) == {"torch"}, "crosstalk"
"""


def test_looking_at_a_bundle_imports_no_torch_and_at_a_store_no_model(workplace):
    arguments = (workplace / "readout.safetensors", workplace / "corpus")
    done = subprocess.run([sys.executable, "-c", LOOKING, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_read_prints_tables_tokens_and_json(capsys, workplace, tiny_checkpoint):
    common = ("--readout", workplace / "readout.safetensors", "--model", tiny_checkpoint("llama"))
    code, out, _ = run(capsys, "read", "The tide came in again.", *common)
    assert code == 0
    assert "z-scores, layers 2, 3" in out
    code, out, _ = run(capsys, "read", "The tide came in again.", "--tokens", "--concept", "grief", *common)
    assert code == 0
    assert "The tide came in again." in out
    assert "grief (not readable), layers 2, 3" in out  # a random model has learnt nothing
    code, out, _ = run(capsys, "read", "The tide came in again.", "--json", *common)
    assert code == 0
    (found,) = json.loads(out)
    assert set(found["z"]) == {"2", "3"}
    assert len(found["z"]["3"]) == len(found["combined"]) == 7
    code, out, _ = run(capsys, "read", "The tide came in again.", "The tide came in again. " * 60, "--json", *common)
    short, long = json.loads(out)
    assert "windows" not in short
    assert long["windows"].keys() == long["combined"].keys()
    assert all("tide" in window["text"] and isinstance(window["z"], float) for window in long["windows"].values())
    code, out, _ = run(capsys, "read", "The tide came in again.", "--layer", 3, *common)
    assert code == 0
    assert "z-scores, layer 3" in out


def test_read_says_null_where_a_text_is_nothing_but_an_attention_sink(capsys, workplace, tiny_checkpoint, tmp_path):
    model = ("--model", tiny_checkpoint("llama"))
    output = tmp_path / "plain.safetensors"
    how = ("--chat-template", "none", "--aggregator", "mean", "--target-layers", "2")
    assert run(capsys, "train", "--training-data-dir", workplace / "corpus", "--output", output, *how, *model)[0] == 0
    code, out, _ = run(capsys, "read", "a", "a tide", "--json", "--readout", output, *model)
    assert code == 0
    alone, two = json.loads(out)
    assert alone["z"]["2"] is None
    assert two["z"]["2"]["grief"] is not None


def test_train_captures_what_the_subspace_aggregator_needs(capsys, workplace, tiny_checkpoint, tmp_path):
    model = ("--model", tiny_checkpoint("llama"), "--target-layers", "2", "--aggregator", "subspace")
    data = ("--training-data-dir", workplace / "corpus")
    assert run(capsys, "train", *data, "--output", tmp_path / "r.safetensors", *model)[0] == 0
    said = load_readout(tmp_path / "r.safetensors").provenance
    assert said.estimator["components"] == said.capture.token_components == 4


def test_read_takes_a_file_of_texts(capsys, workplace, tiny_checkpoint, tmp_path):
    (tmp_path / "texts.txt").write_text("One line of text.\n\nAnother line of text.\n")
    common = ("--readout", workplace / "readout.safetensors", "--model", tiny_checkpoint("llama"))
    code, out, _ = run(capsys, "read", "--file", tmp_path / "texts.txt", "--json", *common)
    assert code == 0
    assert [entry["text"] for entry in json.loads(out)] == ["One line of text.", "Another line of text."]
    (tmp_path / "rows.jsonl").write_text('{"text": "One line of text."}\n{"text": "Another line of text."}\n')
    (tmp_path / "page.txt").write_text("One line\nof text\nis here.\n\nAnother\nline of text.\n")
    for name, texts in (
        ("rows.jsonl", ["One line of text.", "Another line of text."]),
        ("page.txt", ["One line\nof text\nis here.", "Another\nline of text."]),
    ):
        code, out, err = run(capsys, "read", "--file", tmp_path / name, "--json", *common)
        assert (code, [entry["text"] for entry in json.loads(out)]) == (0, texts)
        assert ("read as 2 texts" in err) == (name == "page.txt")
