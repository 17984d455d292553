"""The walks in docs/architecture.md lead through the files that they name, in that order."""

import ast
import re

import pytest

from tests.docs.pages import ROOT
from tests.test_architecture import PACKAGE, ROOMS, imported_modules

PAGE = (ROOT / "docs" / "architecture.md").read_text()
WALKS = {
    title: re.findall(r"^\| `(\S+\.py)` \| `(\S+\.py)` \|", text, re.M)
    for title, text in re.findall(r"^## (A .*?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
}
ORDER = list(ROOMS)


def module_of(file):
    return "amygdala_tl." + file.removesuffix(".py").replace("/", ".")


def parts(node):
    """What runs of a node, in order: arguments before the call, no annotations, and no function that is only defined."""
    if isinstance(node, ast.Call):
        return [*node.args, *node.keywords, node.func]
    if isinstance(node, ast.FunctionDef):
        return node.body
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value else []
    return [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.FunctionDef | ast.ClassDef)]


def uses(file):
    """For every function of a file, and for the file itself: modules of the package in the order in which it uses them.

    A call of another function of the file counts as what that function uses.
    """
    tree = ast.parse((PACKAGE / file).read_text())
    modules = {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    def order_of(start):
        order, entered = [], {start}

        def visit(node):
            for child in parts(node):
                visit(child)
            own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
            name = node.attr if own else node.id if isinstance(node, ast.Name) else None
            if functions.get(name) not in {None, *entered}:
                entered.add(functions[name])
                visit(functions[name])
            elif isinstance(node, ast.Name) and name in modules and modules[name] not in order:
                order.append(modules[name])

        visit(start)
        return order

    return [order_of(start) for start in (tree, *functions.values())]


def test_there_are_two_walks():
    assert [len(walk) > 10 for walk in WALKS.values()] == [True, True]


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_every_file_of_a_walk_is_imported_by_its_caller(walk):
    for file, caller in walk:
        assert (PACKAGE / file).exists(), file
        found = imported_modules(PACKAGE / caller)
        assert any(module.startswith(f"{module_of(file)}.") for module in found), f"{caller} does not import {file}"


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_a_walk_never_climbs_back_up(walk):
    rooms = [ORDER.index(file.split("/")[0]) for file, _ in walk]
    assert rooms in (sorted(rooms), sorted(rooms, reverse=True))


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_a_caller_uses_its_files_in_the_order_of_the_walk(walk):
    for caller in dict.fromkeys(caller for _, caller in walk):
        files = [module_of(file) for file, by in walk if by == caller]
        orders = [[module for module in order if module in files] for order in uses(caller)]
        assert all(order == sorted(order, key=files.index) for order in orders), caller
        assert {module for order in orders for module in order} == set(files), caller


def test_the_table_of_rooms_is_the_house():
    rows = re.findall(r"^\| (`[^|]*) \|", PAGE.split("## A note")[0], re.M)
    named = {room for row in rows for room in re.findall(r"`(\w+)", row)}
    assert named <= set(ROOMS)
    assert {room for room in ROOMS if (PACKAGE / room).is_dir()} <= named
