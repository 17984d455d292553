"""What commands print: text from outside is data, on any stream, and nothing is printed around the printer."""

import ast
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from rich.text import Text

from amygdala_tl.cli.printer import NARROWEST, SafeConsole, command_line, print_error, print_json, set_up
from amygdala_tl.report.grid import grid
from tests.cli.conftest import run
from tests.readout.example import a_readout

PACKAGE = Path(__file__).parents[2] / "amygdala_tl"
HOSTILE = "joy\x1b]52;c;aGk=\x1b[2J\u202e\x9b31m[red]:smile:"
WRITTEN_OUT = r"joy\x1b]52;c;aGk=\x1b[2J\u202e\x9b31m[red]:smile:"


def calls(path):
    """Dotted names of everything that a file calls."""
    return {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_prints_around_the_printer(path):
    around = {"print", "Console", "rich.print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"}
    if path.relative_to(PACKAGE).as_posix() not in ("cli/printer.py", "demo/server.py"):  # a server says its address
        assert not around & calls(path)


def printed(thing, width=200):
    console = SafeConsole(file=io.StringIO(), width=width)
    console.print(thing)
    return console.file.getvalue()


def test_text_markup_and_escapes_are_shown_as_they_are():
    table = grid([HOSTILE], title=HOSTILE)
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE))
    shown = printed(table)
    assert shown.count(WRITTEN_OUT) == 4
    assert not set("\x1b\x07\x9b\u202e") & set(shown)
    assert printed(HOSTILE).strip() == WRITTEN_OUT


def test_a_name_that_never_ends_is_cut_in_tables():
    table = grid(["concept"])
    table.add_row(Text(60_000 * "n"))
    table.add_row(60_000 * "n")
    assert printed(table).count("(60,000 characters)") == 2
    assert len(printed(table)) < 10_000


def test_warnings_and_logs_of_libraries_take_the_same_way(capsys):
    factory = logging.getLogRecordFactory()
    with warnings.catch_warnings():
        set_up()
        try:
            warnings.warn(HOSTILE, stacklevel=1)
            logging.getLogger("some.library").warning("%s", HOSTILE)
        finally:
            logging.setLogRecordFactory(factory)
    said = capsys.readouterr().err
    assert f"warning: {WRITTEN_OUT}" in said
    assert "\x1b" not in said


def test_json_on_standard_output_is_safe(capsys):
    print_json({"text": HOSTILE, "other": "喜悦"})
    said = capsys.readouterr().out
    assert not set("\x1b\x07\x9b\u202e") & set(said)
    assert json.loads(said) == {"text": HOSTILE, "other": "喜悦"}
    assert "喜悦" in said


def test_a_bundle_cannot_reach_the_terminal(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = a_readout((HOSTILE, "joy")).save("[red].safetensors")
    _, out, err = run(capsys, "inspect", path)
    assert not set("\x1b\x07\x9b\u202e") & set(out + err)
    assert r"\x1b]52;c;aGk=" in out + err
    assert "[red].safetensors" in out + err


def test_a_usage_error_is_one_message_without_escapes(capsys):
    code, _, err = run(capsys, "read", f"--{HOSTILE}")
    assert code == 2
    assert err.startswith("error: No such option")
    assert "See `amygdala-tl read --help`." in err
    assert not set("\x1b\x07\x9b\u202e") & set(err)


def test_a_command_to_run_next_names_the_program_as_it_was_called_unless_it_is_on_the_path(monkeypatch, tmp_path):
    program = tmp_path / "bin" / "amygdala-tl"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    for called, path, expected in (
        ("bin/amygdala-tl", "", "bin/amygdala-tl"),
        ("bin/amygdala-tl", str(program.parent), "amygdala-tl"),
        ("other/amygdala-tl", str(program.parent), "other/amygdala-tl"),
        ("main.py", "", "amygdala-tl"),
    ):
        monkeypatch.setattr(sys, "argv", [called])
        monkeypatch.setenv("PATH", path)
        assert command_line("serve", "--readout", "my readout") == f"{expected} serve --readout 'my readout'"


@pytest.mark.parametrize("columns", ["0", "1", "-3", "many"])
def test_a_terminal_without_width_still_shows_something(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    console = SafeConsole(file=io.StringIO())
    console.print(Text("calm " * 10))
    assert console.width >= NARROWEST
    assert console.file.getvalue().split() == ["calm"] * 10


def test_a_closed_standard_error_stays_silent(monkeypatch):
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    print_error("nobody hears this")


SHOW = "import sys; from amygdala_tl.cli import printer; printer.set_up(); printer.printer().print('\\u2588 \\u2192 \\u559c')"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", rb"# > \u559c"), ("latin-1", rb"# > \u559c"), ("cp1252", rb"# > \u559c"), ("utf-8", "█ → 喜".encode())],
)
def test_an_encoding_without_blocks_gets_what_it_has(encoding, shown):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "TERM": "dumb"}
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, env=environment, check=True)
    assert done.stdout.strip() == shown
