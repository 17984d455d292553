"""Code blocks of the documentation: each page is followed from top to bottom, in a folder of its own."""

import itertools
import json
import shlex
import tomllib
from pathlib import Path

import pytest

from amygdala_tl.steering.settings import read_settings
from tests.docs.conftest import run
from tests.docs.pages import ALL_BLOCKS, PAGES, name

FIRST = {command: block for block in reversed(ALL_BLOCKS) if block.not_run is None for command in block.commands}
"""Command -> the first block that has it. It runs there only: the folder of every page has what it makes."""

CHEAPER = {"--random": "3", "--samples": "1", "--doses": "0,0.2"}
"""Options of `steer` -> values with which it takes seconds."""


@pytest.mark.parametrize("page", [page for page in PAGES if page in {block.page for block in ALL_BLOCKS}], ids=name)
def test_a_page_can_be_followed(page, place, servers, given):
    names = dict(given)
    for block in ALL_BLOCKS:
        if block.page == page and block.not_run is None:
            FOLLOW[block.language](block, servers, names)


def follow_console(block, servers, names):
    for command in block.commands:
        tool, *words = shlex.split(replaced(command, servers))
        if tool != "amygdala-tl" or FIRST[command] is not block:  # `test_commands.py` checks the others
            continue
        if words[0] == "steer":
            pairs = itertools.pairwise(["", *words])
            words = [CHEAPER.get(before, word) for before, word in pairs] + ["--concepts", "joy", "--layers", "14"]
        assert run(*words) == 0, f"{block}: {command}"


def follow_python(block, servers, names):
    code = "\n" * (block.line - 1) + replaced(block.code, servers)
    exec(compile(code, str(block.page), "exec"), names)


def follow_json(block, servers, names):
    json.loads(block.code)


def follow_toml(block, servers, names):
    if "entry-points" in block.code:
        (plugins,) = tomllib.loads(block.code)["project"]["entry-points"].values()
        assert all(target.endswith(":register") for target in plugins.values())
        return
    with open("validation.toml", "w") as file:
        file.write(block.code)
    read_settings(Path("validation.toml"))


def follow_text(block, servers, names):
    """Nothing to do."""


FOLLOW = {
    "console": follow_console,
    "python": follow_python,
    "json": follow_json,
    "toml": follow_toml,
    "text": follow_text,
}


def replaced(text, servers):
    """The text with the addresses of servers that answer."""
    for address, real in servers.items():
        text = text.replace(address, real)
    return text
