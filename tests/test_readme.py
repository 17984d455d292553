"""README and code say the same."""

import re
from pathlib import Path

import pytest
import torch
import typer

from amygdala_tl.cli.main import app
from amygdala_tl.demo import demo_graph_path

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = typer.main.get_command(app).commands


def test_every_command_is_in_the_readme_and_no_other():
    table = re.search(r"\| command \| does \|\n(.*?)\n\n", README, re.DOTALL).group(1)
    assert set(re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("line", re.findall(r"^ +amygdala-tl (.+)$", README, re.MULTILINE))
def test_every_option_in_a_readme_command_exists(line):
    command, *words = line.split()
    known = {name for parameter in COMMANDS[command].params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_option_that_the_prose_names_exists():
    known = {
        name
        for command in COMMANDS.values()
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    external = {"--help", "--no-deps"}
    for script in (Path(__file__).parent.parent / "benchmarks").glob("*.py"):
        external |= set(re.findall(r'add_argument\("(--[a-z-]+)"', script.read_text()))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= known | external


def test_the_python_example_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    notes = demo_graph_path().read_text().splitlines(keepends=True)[:130]
    (tmp_path / "memory.jsonl").write_text("".join(notes))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["z"].shape == (1, 2, len(names["corpus"].concepts))
    assert torch.isfinite(names["z"]).all()
