"""Scripts of new users, each written from the README alone, run where they have what such a user has.

`make test-newcomer` runs them in a fresh environment, with `notebook.py`, which needs Jupyter.
"""

import json
import os
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from amygdala_tl.api.models import lens_of
from amygdala_tl.readout.record import load_readout
from amygdala_tl.serve.app import readout_app
from tests.docs.conftest import run
from tests.llama_cpp import LlamaCpp, llama_library, written_gguf
from tests.newcomer.home import EMOTIONS, write_texts
from tests.servers import running_app

HERE = Path(__file__).parent
ONE_METHOD = ("--aggregator", "whitened")
"""What `train` fits here: it compares several methods without, which takes half a minute."""


def sh(line):
    """Run a command of ours as a shell would, in this process."""
    tool, *words = shlex.split(line)
    assert (tool, run(*words, *(ONE_METHOD if words[0] == "train" else ()))) == ("amygdala-tl", 0), line


def serving(line):
    """Serve what `serve` serves, in a thread of this process: `tests/serve/test_command.py` starts the command itself."""
    readout = load_readout(re.search(r"--readout (\S+)", line)[1])
    return running_app(readout_app(readout, lens_of(readout, None)))


@pytest.fixture(scope="module")
def home(tiny_checkpoint, tmp_path_factory):
    """A folder with a model and texts, and the readout that the first script makes of them."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(tiny_checkpoint("llama"), folder / "my-model")
    write_texts(folder / "my-texts")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def trained(home):
    """The same folder, after the script about texts of one's own."""
    runpy.run_path(str(HERE / "own_folder.py"), {"sh": sh})
    return home


def test_texts_of_ones_own_become_a_readout(trained):
    assert json.loads((trained / "readout.json").read_text())["concepts"] == sorted(EMOTIONS)


def test_ones_own_model_gets_a_readout(home):
    runpy.run_path(str(HERE / "own_model.py"))


def test_a_chat_is_coloured(trained, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    runpy.run_path(str(HERE / "coloured_chat.py"), {"serving": serving})


def test_llama_cpp_is_steered(trained, tiny_checkpoint):
    library = llama_library()
    written_gguf(AutoModelForCausalLM.from_pretrained(tiny_checkpoint("llama")), trained / "my-model.gguf")
    names = {"sh": sh, "llama_cpp": lambda file: LlamaCpp(library, file)}
    runpy.run_path(str(HERE / "control_vector.py"), names)


def test_a_readout_is_published_and_read_again(trained):
    runpy.run_path(str(HERE / "hub.py"), {"sh": sh})
