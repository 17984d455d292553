"""A folder to follow the documentation in, and what its pages take as given.

The cache of embedded models holds a tiny random model with as many layers as the pages name, so that `embedded` runs the
real way in a fraction of the time. Where a page names a model of the hub, a folder of that name leads to the same one.
The memory graph is a part of the demo graph, also for `demo`: the beginnings of a quarter of the notes with one of six emotions.
"""

import json
import re
import shutil
import threading

import pytest

from amygdala_tl.api import fit as at_fit
from amygdala_tl.cli.main import main
from amygdala_tl.corpus import read_corpus
from amygdala_tl.demo import demo_graph_path, server
from amygdala_tl.demo.server import running_demo_server
from amygdala_tl.directions.method import read_method
from amygdala_tl.lens.embedded import embedded_gguf
from amygdala_tl.lens.model import load_model
from amygdala_tl.readout.record import load_readout
from tests.live.readout_server import ReadoutServer, event
from tests.models import beginning

SIZES = {"num_hidden_layers": 20, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
EVERY = 4
TAGS = ("anxiety", "calm", "curiosity", "grief", "joy", "warmth")
CONCEPTS = ("calm", "curiosity", "joy")
READOUT_LAYERS = "10,14,18"
TAG = re.compile(r"(\w+):\d+")


def run(*arguments: object) -> int:
    """Run a command in this process, and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def some_notes():
    """Lines of a graph file: every fourth note with one of `TAGS`, without its other tags, and half of the untagged notes."""
    tagged, untagged = [], []
    for line in demo_graph_path().read_text().splitlines():
        note = beginning(json.loads(line))
        (text,) = note["observations"]
        head, _, tags = text.rpartition("\n")
        names = TAG.findall(tags)
        own = [tag for name, tag in zip(names, tags.split(), strict=False) if name in TAGS]
        if own:
            tagged.append(json.dumps(note | {"observations": [f"{head}\n{' '.join(own)}"]}))
        elif not names:
            untagged.append(json.dumps(note))
    return [*tagged[::EVERY], *untagged[::2]]


@pytest.fixture(scope="session")
def tiny_cache(once, tiny_checkpoint):
    """Cache folder in which the embedded model is a tiny one."""
    checkpoint = tiny_checkpoint("llama", **SIZES)
    return once("cache", lambda cache: shutil.copytree(checkpoint, cache / f"{embedded_gguf().stem}-float32"))


def use_tiny(patch, tiny_cache):
    """Let the tiny model stand for the embedded one, which has other weights."""
    patch.setenv("AMYGDALA_TL_CACHE", str(tiny_cache))
    patch.setattr("amygdala_tl.lens.model.check_weights", lambda _: None)


@pytest.fixture(scope="session")
def prepared(once, tiny_cache):
    """Folder with everything that a reader of a page already has."""

    def fill(folder):
        (folder / "memory.jsonl").write_text("\n".join(some_notes()))
        assert run("extract", "--memory-file", folder / "memory.jsonl", "--output-dir", folder / "corpus") == 0
        where = ("--training-data-dir", folder / "corpus", "--output", folder / "readout.safetensors")
        with pytest.MonkeyPatch.context() as patch:
            use_tiny(patch, tiny_cache)
            assert (
                run("train", *where, "--target-layers", READOUT_LAYERS, "--aggregator", "whitened", "--no-verdicts")
                == 0
            )
        texts = read_corpus(folder / "corpus").texts
        (folder / "other.jsonl").write_text(
            "".join(json.dumps({"text": text.text, "labels": list(text.positive)}) + "\n" for text in texts[:40])
        )
        (folder / "quiet.txt").write_text("\n".join(" ".join(text.text.split()) for text in texts[:12]))
        (folder / "diary").mkdir()
        for number, text in enumerate(texts):
            tags = " ".join(f"{name}:{score:g}" for name, score in text.scores.items())
            with (folder / "diary" / f"2031-03-{number % 28 + 1:02}.md").open("a") as page:
                page.write(f"{text.text}\n{tags}\n---\n")
        (folder / "Qwen").mkdir()
        shutil.copytree(next(tiny_cache.iterdir()), folder / "Qwen3-4B")  # as a readout calls a checkpoint folder
        (folder / "Qwen" / "Qwen3-4B").symlink_to("../Qwen3-4B")  # as the page says

    return once("documentation", fill)


@pytest.fixture(scope="session")
def given(prepared, tiny_cache):
    """Names that the pages use before they define them (see docs/python.md)."""
    corpus = read_corpus(prepared / "corpus")
    lens = load_model(str(next(tiny_cache.iterdir())), engine="HookedTransformer")
    lens.model.set_tokenizer(lens.tokenizer)  # as `HookedTransformer.from_pretrained` does
    labelled = [text for text in corpus.texts if not text.neutral]
    return {
        "lens": lens,
        "model": lens.model,
        "tokens": lens.tokenizer("The lamp went out.", return_tensors="pt").input_ids,
        "corpus": corpus,
        "texts": [text.text for text in labelled],
        "labels": [[concept for concept in text.positive if concept in CONCEPTS] for text in labelled],
        "days": [text.group for text in labelled],
        "readout": load_readout(prepared / "readout.safetensors"),
    }


@pytest.fixture
def servers(place):
    """Address in the pages -> address of a server that answers there."""
    served = json.loads((place / "readout.json").read_text())
    vllm = ReadoutServer(served)
    done = threading.Event()

    def generate():
        while not done.wait(0.1):
            vllm.send(event(served, " you", lambda layer, concept: layer - concept))

    with running_demo_server(place / "memory.jsonl") as memory, vllm.running() as address:
        thread = threading.Thread(target=generate)
        thread.start()
        yield {"http://localhost:7777": memory, "http://localhost:8000": address}
        done.set()
        thread.join()


@pytest.fixture
def place(prepared, tiny_cache, models_load_once, tmp_path, monkeypatch):
    """A fresh copy of the prepared folder, which is the current one."""
    folder = tmp_path / "place"
    shutil.copytree(prepared, folder, symlinks=True)
    monkeypatch.chdir(folder)
    use_tiny(monkeypatch, tiny_cache)
    monkeypatch.setattr(server, "demo_graph_path", lambda: prepared / "memory.jsonl")
    monkeypatch.setattr(
        at_fit, "CANDIDATES", [read_method("mean"), read_method("joint")]
    )  # the others take seconds each
    return folder
