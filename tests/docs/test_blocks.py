"""Code blocks of the documentation: each page is followed from top to bottom, in a folder of its own."""

import itertools
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import torch
import typer
from einops import einsum

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.cli.app import app
from amygdala_tl.cli.config import read_config
from amygdala_tl.directions import method
from amygdala_tl.directions.denoise import chain
from amygdala_tl.errors import ModelError
from amygdala_tl.routes.rules import rules_of_file
from amygdala_tl.steering.settings import read_settings
from amygdala_tl.vllm import mapping
from amygdala_tl.vllm.projection import Projection
from tests.docs.conftest import run
from tests.docs.pages import ALL_BLOCKS, ROOT, name

RECIPES = ROOT / "docs" / "recipes"

FIRST = {command: block for block in reversed(ALL_BLOCKS) if block.not_run is None for command in block.commands}
"""Command -> the first block that has it. It runs there only: the folder of every page has what it makes."""

FOLLOWED = [
    page
    for page in dict.fromkeys(block.page for block in ALL_BLOCKS if block.not_run is None and block.language != "text")
    if page.parent != RECIPES
]

CHEAPER = {"--random": "3", "--samples": "1", "--doses": "0,0.2"}
"""Options of `steer` -> values with which it takes seconds."""

FEW_PROBE_TEXTS = ("--probe-texts", "4")

ONE_METHOD = ("--aggregator", "whitened")
"""What `train` fits on the pages: `demo` compares all methods, in a third of a minute."""


@pytest.mark.parametrize("page", FOLLOWED, ids=name)
def test_a_page_can_be_followed(page, place, servers, given):
    follow(page, servers, dict(given))


def test_a_recipe_adds_an_estimator(place, servers, given, monkeypatch):
    monkeypatch.setitem(method.ESTIMATORS, "median", None)  # undone after the test
    names = follow(RECIPES / "estimator.md", servers, dict(given))
    assert names["readout"].provenance.method == "median"
    assert set(names["readout"].verdicts) == set(names["readout"].concepts)
    positive, negative = torch.randn(9, 1, 4), torch.randn(7, 1, 4)
    expected = positive.median(dim=0).values - negative.median(dim=0).values
    torch.testing.assert_close(names["median"](positive, negative), expected / expected.norm(dim=-1, keepdim=True))


def test_a_recipe_adds_a_denoiser(place, servers, given, monkeypatch):
    monkeypatch.setitem(chain.DENOISERS, "neutral-mean", None)
    readout = follow(RECIPES / "denoiser.md", servers, dict(given))["readout"]
    assert readout.provenance.method == "mean + neutral-mean"
    store = ActivationStore.find(place / "activations")
    texts = [text.id for text in given["corpus"].texts if text.neutral and text.split == "train"]
    means = store.load(texts, readout.layers, "pooled").mean(dim=0)
    means = means / means.norm(dim=-1, keepdim=True)
    cosines = einsum(readout.vectors, means, "layer concept d_model, layer d_model -> layer concept")
    torch.testing.assert_close(cosines, torch.zeros_like(cosines), rtol=0, atol=1e-4)


def test_a_recipe_reads_another_memory_source(place, servers, given):
    names = follow(RECIPES / "memory-source.md", servers, dict(given))
    corpus = names["corpus"]
    assert {text.text for text in corpus.texts} <= {text.text for text in given["corpus"].texts}
    assert len(corpus.texts) > 100
    assert all(re.fullmatch(r"2031-03-\d\d", text.group) for text in corpus.texts)


class MyDecoderLayer(torch.nn.Module):
    """A layer that leaves the last addition to the next one."""

    def __init__(self):
        super().__init__()
        self.mlp = torch.nn.Linear(8, 8)

    def forward(self, hidden, residual):
        residual = hidden if residual is None else hidden + residual
        return self.mlp(residual), residual


MyDecoderLayer.__module__ = "my_package.my_model"


def test_a_recipe_adds_a_vllm_architecture(place, servers, given, monkeypatch):
    layer, vectors = MyDecoderLayer(), torch.randn(1, 3, 8)
    with pytest.raises(ModelError, match=r"my_model\.MyDecoderLayer"):
        Projection([layer], [0], vectors, rows=4)
    monkeypatch.setitem(mapping.TABLE, "my_model.MyDecoderLayer", "first")
    follow(RECIPES / "vllm-architecture.md", servers, dict(given))["register"]()
    projection = Projection([layer], [0], vectors, rows=4)
    hidden = torch.randn(4, 8)
    with torch.no_grad():
        added, before = layer(hidden, None)
    torch.testing.assert_close(projection.first(4)[:, 0], (added + before) @ vectors[0].T)


def follow(page, servers, names):
    """Run the blocks of a page, and return the names that its Python blocks define."""
    for block in ALL_BLOCKS:
        if block.page == page and block.not_run is None:
            FOLLOW[block.language](block, servers, names)
    return names


def follow_console(block, servers, names):
    for command in block.commands:
        tool, *words = shlex.split(replaced(command, servers))
        if tool != "amygdala-tl" or FIRST[command] is not block:  # `test_commands.py` checks the others
            continue
        if words[0] == "steer":
            pairs = itertools.pairwise(["", *words])
            words = [CHEAPER.get(before, word) for before, word in pairs] + ["--concepts", "joy", "--layers", "14"]
            words += [] if "--probe-texts" in words else FEW_PROBE_TEXTS
        if words[0] == "train" and "--aggregator" not in words:
            words += ONE_METHOD
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
    if "[[alert]]" in block.code:
        Path("alerts.toml").write_text(block.code)
        assert rules_of_file("alerts.toml")
        return
    if block.code.startswith("# amygdala.toml"):
        Path("settings.toml").write_text(block.code)
        assert read_config(Path("settings.toml"), typer.main.get_command(app).commands).values["train"]
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
