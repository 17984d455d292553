"""The notebooks run from top to bottom with the embedded model, use public names only, and are kept without outputs."""

import ast
import importlib
import json

import pytest

import amygdala_tl.lens.model
from tests.docs.pages import ROOT

CHEAPER = "random=10", "random=3"
"""What `steer` measures in a notebook, and what it measures here."""

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def cells(path, kind="code"):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def shown(cell, names):
    """Run a cell, and return what Jupyter shows of its last expression."""
    tree = ast.parse("".join(cell["source"]).replace(*CHEAPER), cell["id"])
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, cell["id"], "exec"), names)
    value = None if last is None else eval(compile(last, cell["id"], "eval"), names)
    return value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The working folder of all notebooks, which share their activations."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, embedded, place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(amygdala_tl.lens.model, "load_model", {"embedded": embedded}.__getitem__)  # loaded once
    names = {}
    outputs = [shown(cell, names) for cell in cells(path)]
    assert any("<table>" in output for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_output_and_imports_public_names(path):
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(path))
    for node in ast.walk(ast.parse("\n".join("".join(cell["source"]) for cell in cells(path)))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("amygdala_tl"):
            assert {each.name for each in node.names} <= set(importlib.import_module(node.module).__all__)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_installs_what_the_page_names(path):
    commands = [line for line in "".join(cells(path)[0]["source"]).splitlines() if line.startswith("# %pip ")]
    page = (ROOT / "docs" / "notebooks.md").read_text().replace("demo,notebook", "demo")  # Colab has Jupyter
    assert len(commands) == 2
    assert all(f"$ {line.removeprefix('# %')}" in page for line in commands)


def test_the_page_names_every_notebook():
    page = (ROOT / "docs" / "notebooks.md").read_text()
    assert all(f"(notebooks/{path.name})" in page for path in NOTEBOOKS)
