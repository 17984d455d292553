"""Whatever a command is given, it ends in one message and a known exit code; stopped, it says so and can go on.

All commands meet every kind of hostile argument in one process. Signals, encodings and closed streams need a process each.
"""

import errno
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import save

from amygdala_tl.activations import plan
from amygdala_tl.api.capture import capture
from amygdala_tl.cli.app import app
from amygdala_tl.corpus.io import write_corpus
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.settings import LARGEST_SEED
from tests.cli.conftest import run
from tests.corpus.test_corpus_io import small_corpus
from tests.readout.example import a_readout

COMMANDS = typer.main.get_command(app).commands


def arguments_with(annotation):
    """(command, argument) of every argument with this type."""
    signatures = {name: inspect.signature(command.callback).parameters for name, command in COMMANDS.items()}
    return [
        (name, each.name)
        for name, parameters in signatures.items()
        for each in parameters.values()
        if annotation in str(each.annotation)
    ]


PATHS = [*arguments_with("Path"), *((name, "model") for name, argument in arguments_with("str") if argument == "model")]
NUMBERS = arguments_with("int")
BOUNDS = {"n_devices": (1, 1024), "token_components": (0, 1024), "max_examples_per_emotion": (5, LARGEST_SEED)}
BOUNDS |= dict.fromkeys(["max_tokens", "batch_size", "workers", "min_examples", "top_emotions"], (1, LARGEST_SEED))
BOUNDS |= dict.fromkeys(["slots", "strongest", "passages"], (1, LARGEST_SEED))
BOUNDS |= dict.fromkeys(["max_negative_mentions", "min_content_chars", "warnings", "seed"], (0, LARGEST_SEED))
BOUNDS |= {"window": (1, 4096)}
BOUNDS |= {"random": (3, 1_000_000), "samples": (0, 1_000_000), "probe_texts": (0, 1_000_000), "port": (0, 65_535)}
OUTPUTS = {"output", "output_dir", "out"}
MADE = {("train", "activations_dir"), ("capture", "activations_dir")}
THINGS = ("empty", "deep", "binary", "header", "pipe", "folder", "zero", "loop", "missing")
IN_THE_WAY = ("deep", "binary", "header", "pipe", "zero", "loop")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Things that a path may lead to, and none that a command can use."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "empty.safetensors").touch()
    (folder / "empty.json").touch()
    (folder / "deep.safetensors").write_bytes(b"[" * 100_000)
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "binary.safetensors").write_bytes(bytes(range(256)) * 40)
    (folder / "binary.json").write_bytes(bytes(range(256)) * 40)
    (folder / "header.safetensors").write_bytes((1 << 63).to_bytes(8, "little"))
    (folder / "header.json").write_text('{"concepts": 1, "layers": {"a": [[[]]]}, "hidden_size": 1e400}')
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "pipe.json").symlink_to("pipe.safetensors")
    (folder / "folder.safetensors").mkdir()
    (folder / "folder.json").mkdir()
    (folder / "zero.safetensors").symlink_to("/dev/zero")
    (folder / "zero.json").symlink_to("/dev/zero")
    a_readout().save(folder / "good.safetensors")
    write_corpus(small_corpus(), folder / "corpus")
    os.symlink("loop.safetensors", folder / "loop.safetensors")
    return folder


def arguments_of(name, folder, tmp_path, **given):
    """A command line with something good for whatever it requires and is not given."""
    good = {
        "readout": folder / "good.safetensors", "fit_file": folder / "good.safetensors", "memory_file": demo_graph_path(),
        "training_data_dir": folder / "corpus", "data": folder / "corpus", "activations_dir": tmp_path / "a",
        "output": tmp_path / "out.safetensors", "output_dir": tmp_path / "out", "out": tmp_path / "out",
        "first": folder / "none", "second": folder / "none", "config": folder / "none", "url": "http://127.0.0.1:1",
        "model": folder / "none", "texts": "a text", "repo": tmp_path / "repo",
    }  # fmt: skip
    if given.keys() & {"config"} and name == "steer":
        good = {"out": good["out"]}
    if name == "read" and "file" in given:
        del good["texts"]
    if name == "dashboard":
        good["concepts"] = "joy"  # without any, it reads no bundle
    said = [name]
    for option in COMMANDS[name].params:
        if (value := given.get(option.name, good.get(option.name))) is not None:
            is_option = option.opts[0].startswith("-")
            said += [f"{option.opts[0]}={value}"] if is_option else [str(value)]
    return said


def ends_well(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert code == 2, (arguments, out, err)
    assert "Traceback" not in err
    assert err.count("error:") == 1, err
    assert len(err) < 10_000
    return err


@pytest.mark.parametrize(("name", "option"), PATHS)
def test_a_path_that_leads_to_nothing_usable_is_one_message(capsys, hostile, tmp_path, monkeypatch, name, option):
    monkeypatch.chdir(tmp_path)
    things = IN_THE_WAY if option in OUTPUTS or (name, option) in MADE else THINGS
    for thing in things:
        if name != "demo":
            ends_well(capsys, arguments_of(name, hostile, tmp_path, **{option: hostile / f"{thing}.safetensors"}))


@pytest.mark.parametrize(("name", "option"), NUMBERS)
def test_a_number_beyond_all_bounds_is_one_message(capsys, hostile, tmp_path, name, option):
    for number in ("9" * 5000, "9" * 4000, "9" * 30, "-" + "9" * 30, "1e400", "", "\x1b[31m", "\udcff", "nan"):
        said = ends_well(capsys, arguments_of(name, hostile, tmp_path, **{option: number}))
        assert "\x1b" not in said


@pytest.mark.parametrize(("name", "option"), [each for each in NUMBERS if each[1] != "layer"])  # the readout bounds it
def test_a_number_just_outside_its_bounds_is_refused_by_its_name_and_one_at_its_bounds_is_taken(
    capsys, hostile, tmp_path, name, option
):
    lowest, highest = BOUNDS[option]
    for number in (lowest - 1, highest + 1):
        said = ends_well(capsys, arguments_of(name, hostile, tmp_path, **{option: number}))
        assert re.search(rf"(--|error: ){option.replace('_', '[-_]')}\b", said), said
    for number in (lowest, highest):
        _, *said = arguments_of(name, hostile, tmp_path, **{option: number})
        assert COMMANDS[name].make_context(name, said).params[option] == number


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_option_that_nobody_knows_is_one_message(capsys, name):
    for argument in ("--\udcff", "--no-such\x1b[31m=1", "-\u202e", "--help=\x07", "---", "--" + "x" * 60_000):
        assert "\x1b" not in ends_well(capsys, [name, argument])


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *(("train", option) for option in ("target_layers", "aggregator", "denoise", "dtype", "device", "revision")),
        *(("steer", option) for option in ("concepts", "layers", "doses", "ablate")),
        *(("extract", option) for option in ("node_types", "memory_mcp_url", "query_tool")),
        ("read", "concept"),
        ("quality", "concepts"),
        ("watch", "url"),
    ],
)
def test_a_text_that_makes_no_sense_is_one_message(capsys, hostile, tmp_path, monkeypatch, name, option):
    monkeypatch.chdir(tmp_path)
    for text in ("9" * 5000, "-" + "9" * 30, "1e999", "nan", "\x1b[31m", "\u202e[red]", "\udcff", "x" * 60_000, "..\0"):
        given = {option: text} | ({"memory_file": hostile / "none"} if name == "extract" else {})
        assert "\x1b" not in ends_well(capsys, arguments_of(name, hostile, tmp_path, **given))


def test_a_bug_ends_in_one_line_that_names_the_file_with_its_traceback(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("AMYGDALA_TL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("amygdala_tl.cli.train.read_training_data", lambda *_, **__: 1 / 0)
    code, _, err = run(capsys, "train", "--training-data-dir", "x", "--output", "x.safetensors")
    (file,) = (tmp_path / "cache" / "errors").iterdir()
    assert code == 70
    assert err == f"error: this is a bug: ZeroDivisionError: division by zero; please report it with {file}\n"
    assert "Traceback" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC])
def test_a_file_that_the_system_refuses_is_named(capsys, monkeypatch, number):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number), "/data/x")

    monkeypatch.setattr("amygdala_tl.cli.train.read_training_data", refused)
    said = ends_well(capsys, ["train", "--training-data-dir", "x", "--output", "x.safetensors"])
    assert said.startswith(f"error: /data/x: the system refuses it (got: {os.strerror(number)})")


@pytest.mark.parametrize("cache", ["/proc/none", "/dev/null/none"])
def test_a_bug_without_a_cache_folder_is_one_line_too(capsys, monkeypatch, cache):
    def broken(*_, **__):
        raise ZeroDivisionError("one line\nand another")

    monkeypatch.setenv("AMYGDALA_TL_CACHE", cache)
    monkeypatch.setattr("amygdala_tl.cli.train.read_training_data", broken)
    code, _, err = run(capsys, "train", "--training-data-dir", "x", "--output", "x.safetensors")
    assert code == 70
    assert err.startswith("error: this is a bug: ZeroDivisionError")
    assert err.count("\n") == 1


STOPPED_WHILE_IMPORTING = """
import os, signal, sys
number, *modules = sys.argv[1:]
class Stop:
    def find_spec(self, name, *_):
        if name in modules:
            modules.remove(name)
            os.kill(os.getpid(), int(number))
sys.meta_path.insert(0, Stop())
from amygdala_tl.cli.main import main
main(["inspect", "x.safetensors"])
"""


def process(*arguments, **how):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False, **how)


@pytest.mark.parametrize(
    ("module", "number"), [("typer", signal.SIGINT), ("rich.console", signal.SIGTERM), ("numpy", signal.SIGINT)]
)
def test_a_command_stopped_while_it_imports_says_one_sentence(module, number):
    done = process("-c", STOPPED_WHILE_IMPORTING, int(number), module)
    assert done.returncode == 128 + number
    assert done.stderr.startswith(
        f"stopped by {'Ctrl-C' if number == signal.SIGINT else 'SIGTERM'}: finished work is kept"
    )
    assert done.stderr.count("\n") == 1


def test_a_command_in_the_background_goes_on_where_its_shell_ignores_ctrl_c():
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    done = process("-c", STOPPED_WHILE_IMPORTING, int(signal.SIGINT), "typer", **ignored)
    assert done.returncode == 2
    assert "x.json" in done.stderr
    assert "stopped" not in done.stderr


def test_a_second_ctrl_c_ends_the_program_at_once():
    done = process("-c", STOPPED_WHILE_IMPORTING, int(signal.SIGINT), "typer", "amygdala_tl.cli.printer")
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_a_command_runs_in_any_thread_and_leaves_signals_as_they_were(capsys):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    ends_well(capsys, ["inspect", "x.safetensors"])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with ThreadPoolExecutor() as pool:
        pool.submit(ends_well, capsys, ["inspect", "x.safetensors"]).result()


def test_a_capture_that_ctrl_c_stops_goes_on_from_its_last_shard(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(plan, "SHARD_TEXTS", 2)
    texts = [f"Note {number}: the kettle was on and the rain had stopped." for number in range(12)]
    corpus = Corpus.from_texts(texts, [["joy"], ["grief"]] * 6)

    def stop(state):
        if state.texts_done == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        capture(corpus, tiny, tmp_path, layers="1", batch_size=2, progress=stop)
    assert not list(tmp_path.rglob("*.tmp"))
    _, summary = capture(corpus, tiny, tmp_path, layers="1", batch_size=2)
    assert summary.texts_run == 8


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_help_is_printed_in_any_encoding_and_width(encoding):
    poor = {"PYTHONIOENCODING": encoding, "LANG": "C", "TERM": "dumb", "COLUMNS": "1", "HOME": "/nonexistent"}
    done = process("-m", "amygdala_tl.cli.main", "steer", "--help", env=os.environ | poor, encoding=encoding)
    assert done.returncode == 0
    assert "--doses" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        ("> /dev/full", 2, "standard output cannot be written"),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("| true", 0, ""),
    ],
)
def test_an_output_that_is_full_closed_or_gone_is_no_traceback(redirected, code, said):
    command = f"set -o pipefail; {sys.executable} -m amygdala_tl.cli.main steer --help {redirected}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (code, bool(said))
    assert said in done.stderr


ONE_LINE = """
from amygdala_tl.cli import app, main, printer
app.run = lambda _: printer.print_json({}) or 0
main.main([])
"""


@pytest.mark.parametrize(("redirected", "code", "said"), [("> /dev/full", 2, "cannot be written"), ("| true", 0, "")])
def test_a_line_that_is_written_only_at_the_end_is_no_traceback_either(redirected, code, said):
    command = f"set -o pipefail; env -u PYTHONUNBUFFERED {sys.executable} -c '{ONE_LINE}' {redirected}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (code, bool(said))
    assert said in done.stderr


def test_no_file_takes_the_number_of_a_closed_stream():
    opened = "import os, sys; from amygdala_tl.cli.main import main; sys.exit = print; main([]); os._exit(os.dup(0))"
    done = subprocess.run(["bash", "-c", f"{sys.executable} -c '{opened}' <&- >&- 2>&-"], check=False)
    assert done.returncode > 2


def test_a_terminal_that_is_gone_is_no_traceback():
    ours, its = os.openpty()
    os.close(ours)
    arguments = [sys.executable, "-m", "amygdala_tl.cli.main", "--help"]
    done = subprocess.run(arguments, stdout=its, stderr=subprocess.PIPE, text=True, check=False)
    os.close(its)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "standard output cannot be written" in done.stderr


@pytest.fixture
def precious(tmp_path, monkeypatch):
    """A folder with inputs, and foreign files with the names of outputs."""
    monkeypatch.chdir(tmp_path)
    write_corpus(small_corpus(), "corpus")
    a_readout().save("fit.safetensors")
    Path("model").mkdir()
    for path in ("model/model.safetensors", "model/readout.safetensors"):
        Path(path).write_bytes(save({"embed.weight": torch.zeros(2, 2)}))
    Path("model/config.json").write_text('{"model_type": "llama"}')
    Path("run").mkdir()
    Path("run/config.toml").write_text('title = "of another program"\n')
    Path("page.html").write_text("<!doctype html><title>Mine</title>")
    Path("model.gguf").write_bytes(b"GGUF")
    Path("norms.csv").write_text("word,valence\njoy,1\n")
    Path("link.safetensors").symlink_to("fit.safetensors")
    os.link("fit.safetensors", "hard.safetensors")
    Path("graphs").mkdir()
    shutil.copy(demo_graph_path(), "graphs/texts.jsonl")
    Path("graphs/linked").symlink_to("texts.jsonl")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "extract --memory-file graphs/texts.jsonl --output-dir graphs",
        "extract --memory-file graphs/linked --output-dir ./graphs/../graphs",
        f"extract --memory-file {demo_graph_path()} --emotions-file corpus/texts.jsonl --output-dir corpus",
        "train --training-data-dir corpus --model model --output model/model.safetensors",
        "train --training-data-dir corpus --model model --output model/new.safetensors",
        "train --training-data-dir corpus --output model/readout.safetensors",
        "fit --training-data-dir corpus --activations-dir a --output model/config.safetensors",
        "export --fit-file fit.safetensors --output fit.safetensors",
        "export --fit-file fit.safetensors --output link.safetensors",
        "export --fit-file fit.safetensors --output hard.safetensors",
        "export --fit-file fit.safetensors --output model/model.safetensors",
        "export --readout fit.safetensors --output model/new.safetensors",
        "capture --training-data-dir corpus --activations-dir model",
        "export --readout fit.safetensors --concept joy --output model.gguf",
        "read text --readout fit.safetensors --output norms.csv",
        "read --file norms.csv --readout fit.safetensors --output norms.csv",
        "report --training-data-dir corpus --readout fit.safetensors --out fit.json",
        "report --training-data-dir corpus --readout fit.safetensors --out page.html",
        "report --training-data-dir corpus --readout fit.safetensors --norms norms.csv --out norms.csv",
        "steer --readout fit.safetensors --out run",
    ],
)
def test_no_command_replaces_an_input_or_a_file_of_another_kind(capsys, precious, command):
    before = {path: path.read_bytes() for path in precious.rglob("*") if path.is_file()}
    said = ends_well(capsys, command.split())
    assert re.search("would replace an input|another kind of file is where|would become a part of the model", said)
    assert {path: path.read_bytes() for path in precious.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", ["quality", "report", "crosstalk", "steer"])
def test_a_command_that_only_reads_makes_no_store(capsys, precious, command):
    Path("activations").mkdir()
    ends_well(capsys, [command, "--training-data-dir", "corpus", "--readout", "fit.safetensors"])
    assert list(Path("activations").iterdir()) == []
