"""Every command that prints results prints them as one JSON document too, with everything else on standard error."""

import io
import json
import logging
import re
import warnings
from pathlib import Path

import pytest
import typer
from rich.text import Text

from amygdala_tl.cli import printer
from amygdala_tl.cli.app import app
from amygdala_tl.cli.printer import SafeConsole, notes, set_volume
from amygdala_tl.report.grid import NARROW, grid
from tests.cli.conftest import assert_serving_command, run
from tests.readout.example import a_readout

COMMANDS = typer.main.get_command(app).commands
LINES = {
    "train": (
        "DATA",
        "--output",
        "new.safetensors",
        "--target-layers",
        "2",
        "--aggregator",
        "mean",
        "--no-verdicts",
        "MODEL",
    ),
    "capture": ("DATA", "--activations-dir", "activations", "--target-layers", "2,3", "MODEL"),
    "fit": (
        "DATA",
        "--activations-dir",
        "activations",
        "--output",
        "new.safetensors",
        "--aggregator",
        "mean",
        "--no-verdicts",
    ),
    "export": ("--readout", "readout.safetensors", "--concept", "joy", "--output", "joy.safetensors"),
    "inspect": ("readout.safetensors",),
    "read": ("The tide came in.", "MODEL"),
    "quality": ("DATA",),
    "evaluate": ("--data", "texts.txt", "MODEL"),
    "crosstalk": ("DATA", "--layer", 3),
    "layers": ("DATA", "--activations-dir", "activations", "--aggregator", "mean"),
    "verify": ("--engine", "hf", "MODEL"),
    "thresholds": ("--texts", "texts.txt", "--concepts", "joy", "--window", 2, "MODEL"),
    "doctor": (),
    "config": ("train",),
}
"""Command -> its arguments in the workplace; in this order, each finds what it needs."""
KEYS = {
    "train": "seconds", "capture": "texts_run", "fit": "concepts", "export": "files", "inspect": "manifest", "read": "combined",
    "quality": "quality", "evaluate": "passages", "crosstalk": "auroc", "layers": "chosen",
    "verify": "checks", "thresholds": "above", "doctor": "findings", "config": "options",
}  # fmt: skip
"""Command -> a key of its document, or of the first of a list."""
SERVED = {"train": "new.safetensors", "export": "joy.safetensors", "verify": "readout.safetensors"}
"""Command -> the bundle that it says how to serve."""
ELSEWHERE = {"extract", "report", "steer", "ablation-run", "compare", "push", "pull"}
"""Commands that other tests run with `--json`: they take long, or need a hub."""


def test_every_command_with_results_can_print_them_as_json():
    can = {name for name, command in COMMANDS.items() if any("--json" in each.opts for each in command.params)}
    assert can == set(LINES) | ELSEWHERE
    other = {"demo", "serve", "watch", "dashboard"}  # a tour, servers and their view, and what is JSON anyway
    assert set(COMMANDS) - can == other


def test_a_document_is_all_of_standard_output(capsys, workplace, tiny_checkpoint, monkeypatch):
    monkeypatch.chdir(workplace)
    (workplace / "texts.txt").write_text("The tide came in again.\nNobody wrote, and the kettle went cold twice.\n" * 2)
    stand_for = {"DATA": ("--training-data-dir", "corpus"), "MODEL": ("--model", tiny_checkpoint("llama"))}
    for name, said in LINES.items():
        arguments = [word for each in said for word in stand_for.get(each, (each,))]
        code, out, err = run(capsys, name, *arguments, "--json")
        assert code == 0, (name, err)
        found = json.loads(out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
        assert KEYS[name] in (found[0] if isinstance(found, list) else found), name
        if name in SERVED:
            of = "MODEL" if name == "export" else tiny_checkpoint("llama")  # the bundle has the folder's name alone
            assert_serving_command(err, Path(SERVED[name]), of)


def test_quiet_leaves_results_and_takes_the_notes_away(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a_readout().save("mine.safetensors")
    (tmp_path / "amygdala.toml").write_text('readout = "mine.safetensors"')
    loud = run(capsys, "inspect")
    assert loud[2] == "from amygdala.toml: readout\n"
    try:
        assert run(capsys, "--quiet", "inspect") == (*loud[:2], "")
    finally:
        set_volume(quiet=False, verbose=False)


def test_verbose_hears_the_libraries(monkeypatch):
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.WARNING))
    monkeypatch.setattr(logging.Logger, "root", logging.root)
    with warnings.catch_warnings():
        set_volume(quiet=False, verbose=True)
        assert all(logging.getLogger(name).level == logging.INFO for name in printer._LOUD)
        assert warnings.filters[0][0] == "default"
    assert not notes().quiet


def wide_table():
    table = grid(["concept"], ["AUROC", "95% interval", "null", "bag of words", "held out"], padding=NARROW)
    table.add_row(Text("determination"), "0.929", "0.856-0.961", "0.612", "0.827", "0.868")
    return table


@pytest.mark.parametrize("width", [80, 50, 40, 30])
def test_a_table_that_is_too_wide_loses_no_column_and_no_label(width):
    console = SafeConsole(file=io.StringIO(), width=width)
    console.print(wide_table())
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "\u2026" not in console.file.getvalue()
    for cell in ("AUROC", "95% interval", "bag of words", "0.929", "0.856-0.961", "0.827", "0.868"):
        assert cell in console.file.getvalue()
    tables = console.file.getvalue().split("\n\n")
    assert (len(tables) > 1) is (width < 80)
    for table in tables:
        assert re.fullmatch(r"concept .*\ndetermination .*\n?", table)


def test_a_pipe_has_no_width_unless_a_variable_says_one(monkeypatch):
    text = Text("calm " * 100)
    for columns, n_lines in (("", 1), ("80", 7)):
        monkeypatch.setenv("COLUMNS", columns)
        console = SafeConsole(file=io.StringIO())
        console.print(text)
        assert len(console.file.getvalue().splitlines()) == n_lines
    console = SafeConsole(file=io.StringIO())
    console.print(wide_table())
    assert not any(line.endswith(" ") for line in console.file.getvalue().splitlines())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_at_80_columns_cuts_no_option(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    out = run(capsys, name, "--help")[1]
    assert "\u2026" not in out
    for parameter in COMMANDS[name].params:
        assert all(option in out for option in parameter.opts if option.startswith("-"))
