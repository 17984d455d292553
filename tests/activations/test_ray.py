"""`capture` on a real local Ray cluster of two workers: the files of one process, also when a worker is killed in mid-run."""

import importlib.util
import os
import signal
import subprocess

import pytest

from amygdala_tl import Corpus, capture, load_ray
from amygdala_tl.activations import plan
from amygdala_tl.corpus.io import write_corpus
from amygdala_tl.errors import InputError, ModelError
from tests.cli.conftest import run

WITHOUT_RAY = importlib.util.find_spec("ray") is None
needs_ray = pytest.mark.skipif(WITHOUT_RAY, reason="Ray is not installed: pip install 'ray[data]'")
HOW = {"layers": [1, 3]}


@pytest.fixture(scope="module")
def corpus():
    texts = [f"Day {at}: I was {'so ' * (at * 7 % 11)}{word}." for at in range(40) for word in ("happy", "sad")]
    return Corpus.from_texts(texts, ["joy", "grief"] * 40)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(plan, "SHARD_TEXTS", 6)


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    with load_ray(str(tiny_checkpoint("llama")), address="local", workers=2, device="cpu") as model:
        yield model


def workers():
    """Process ids of the workers that Ray has started for this process."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    found = {int(line.split()[0]): (int(line.split()[1]), line) for line in listed.splitlines()}
    mine = {pid for pid, (parent, line) in found.items() if parent == os.getpid() and "raylet" in line}
    return [pid for pid, (parent, line) in found.items() if parent in mine and "ray::MapWorker" in line]


def files(store):
    return {file.name: file.read_bytes() for file in store.folder.iterdir() if file.name != ".capturing"}


@pytest.fixture
def expected(corpus, tiny, tmp_path):
    return files(capture(corpus, tiny, tmp_path / "one", **HOW)[0])


@needs_ray
def test_two_workers_write_the_files_of_one_process(corpus, model, expected, tmp_path):
    store, summary = capture(corpus, model, tmp_path / "two", **HOW)
    assert summary.texts_run == len(corpus.texts)
    assert files(store) == expected
    assert capture(corpus, model, tmp_path / "two", **HOW)[1].texts_run == 0


@needs_ray
def test_a_worker_that_is_killed_in_mid_run_loses_nothing(corpus, model, expected, tmp_path):
    killed = []

    def kill(progress):
        if not killed:
            killed.extend(workers())
            os.kill(killed[0], signal.SIGKILL)

    store, _ = capture(corpus, model, tmp_path / "two", progress=kill, **HOW)
    assert killed
    assert files(store) == expected


@needs_ray
def test_the_command_does_what_the_verb_does(capsys, corpus, model, tiny_checkpoint, expected, tmp_path):
    write_corpus(corpus, tmp_path / "corpus")
    where = ("--training-data-dir", tmp_path / "corpus", "--activations-dir", tmp_path / "two")
    how = ("--model", tiny_checkpoint("llama"), "--device", "cpu", "--ray", "local", "--workers", 2)
    code, out, _ = run(capsys, "capture", *where, *how, "--target-layers", "1,3")
    assert code == 0
    assert "2 workers" in out
    (folder,) = (tmp_path / "two").glob("*/store.json")
    assert {file.name: file.read_bytes() for file in folder.parent.iterdir() if file.name != ".capturing"} == expected


@needs_ray
def test_a_model_that_no_worker_can_load_is_one_message(model):
    with pytest.raises(ModelError, match=r"Ray cannot run the model.*/nowhere: no such folder"):
        load_ray("/nowhere", address="local")


@pytest.mark.skipif(not WITHOUT_RAY, reason="Ray is installed here")
def test_a_missing_ray_is_one_message():
    with pytest.raises(InputError, match=r"Ray is not installed.*amygdala-tl\[ray\]"):
        load_ray()
