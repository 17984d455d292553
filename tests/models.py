"""Shared fixtures: the embedded model, and tiny random checkpoints of several architectures."""

import functools
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from amygdala_tl.api import models as of_verbs
from amygdala_tl.api import verify as of_verify
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.diagnostics import baselines
from amygdala_tl.lens import model as of_lens
from amygdala_tl.lens.embedded import embedded_checkpoint
from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.memory.graph_file import read_graph_file
from tests.remembered import RememberedRegression

baselines.LogisticRegression = RememberedRegression

# A twelfth of the embedded model's: loading its tokenizer and computing its logits would take half of the time of the tests.
VOCABULARY = 4096
WHOLE_VOCABULARY = 49152

BEGINNING = 90
"""Characters of a note's beginning, which goes on to the end of a sentence."""

SENTENCE_END = re.compile(r"[.!?](?=\s)")
TAG_LINE = re.compile(r"\n\n\w+:\d+[^\n]*$")

TINY = {
    "llama": {"num_key_value_heads": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 50000.0}},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 32},
    "qwen3_5_text": {
        "num_key_value_heads": 2,
        "head_dim": 32,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
    },
    "gemma2": {"num_key_value_heads": 2, "head_dim": 32, "sliding_window": 8},
    "gpt2": {},
}
# Architectures whose decoder layers return something else in vLLM.
TINY_FOR_VLLM = {
    "opt": {"ffn_dim": 128, "word_embed_proj_dim": 64, "dropout": 0.0},
    "stablelm": {"num_key_value_heads": 2},
    "cohere": {"num_key_value_heads": 2},
    "cohere2": {
        "num_key_value_heads": 2,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"],
    },
}
# Mixtures of experts, which vLLM fuses: its tensors have other names and shapes than Hugging Face's.
TINY_EXPERTS = {
    "mixtral": {"num_key_value_heads": 2, "num_local_experts": 4, "head_dim": 32},
    "qwen3_moe": {
        "num_key_value_heads": 2,
        "head_dim": 32,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 64,
    },
}


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Make a folder once for all workers of a run: `once(name, fill)` calls `fill(folder)` in the first worker that asks for it.

    Tests only read these folders.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, unfinished = root / "once" / name, root / "unfinished" / name
        folder.parent.mkdir(exist_ok=True, parents=True)
        with FileLock(folder.with_name(f".{name}.lock")):
            if not folder.exists():
                shutil.rmtree(unfinished, ignore_errors=True)  # a worker that failed half-way
                unfinished.mkdir(parents=True)
                fill(unfinished)
                unfinished.rename(folder)
        return folder

    return make


def beginning(note: dict[str, Any]) -> dict[str, Any]:
    """Cut a note of the demo graph down to its first sentences and its tags: a third of the text runs in a third of the time."""
    (text,) = note["observations"]
    head, _, tags = text.rpartition("\n\n") if TAG_LINE.search(text) else (text, "", "")
    end = SENTENCE_END.search(head, BEGINNING)
    return note | {"observations": ["\n\n".join(filter(None, (head[: end.end()] if end else head, tags)))]}


@pytest.fixture(scope="session")
def some_graph(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Graph file with the beginning of every second note of the demo graph, for tests that need real notes but not all."""

    def fill(folder: Path) -> None:
        notes = [json.loads(line) for line in demo_graph_path().read_text(encoding="utf-8").splitlines()[::2]]
        lines = [json.dumps(beginning(note)) + "\n" for note in notes]
        (folder / "graph.jsonl").write_text("".join(lines), encoding="utf-8")

    return once("graph", fill) / "graph.jsonl"


@pytest.fixture(scope="session")
def converted(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Checkpoint folder of the embedded model; where the cache is empty, one worker converts it and the others wait."""
    once("converted", lambda _: embedded_checkpoint())
    return embedded_checkpoint()


@pytest.fixture(scope="session")
def embedded(converted: Path) -> Lens:
    """The embedded model in float32 on the CPU, on the engine that `auto` chooses."""
    return load_model("embedded", device="cpu")


@pytest.fixture(scope="session")
def small_tokenizer(once: Callable[[str, Callable[[Path], object]], Path], converted: Path) -> Path:
    """Folder of a tokenizer like the embedded model's, trained on the demo graph's notes."""

    def fill(folder: Path) -> None:
        notes = [node.content for node in read_graph_file(demo_graph_path())]
        AutoTokenizer.from_pretrained(converted).train_new_from_iterator(notes, VOCABULARY).save_pretrained(folder)

    return once("tokenizer", fill)


@pytest.fixture(scope="session")
def tiny_checkpoint(
    once: Callable[[str, Callable[[Path], object]], Path], converted: Path, small_tokenizer: Path
) -> Callable[..., Path]:
    """Folder of a tiny random checkpoint of a model type: 4 layers of 64, made once, no download."""

    def make(model_type: str, **overrides: int) -> Path:
        def fill(folder: Path) -> None:
            model = tiny_model(model_type, **overrides)
            model.save_pretrained(folder)
            source = small_tokenizer if model.config.vocab_size == VOCABULARY else converted
            for file in [*source.glob("*token*"), *source.glob("chat_template.jinja")]:
                shutil.copyfile(file, folder / file.name)

        name = "-".join([model_type, *(f"{name}{value}" for name, value in overrides.items())])
        return once(name, fill)

    return make


def tiny_model(model_type: str, **overrides: int) -> PreTrainedModel:
    """A random model of 4 layers of 64, the same at every call."""
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
    }
    config = AutoConfig.for_model(
        model_type,
        **{**sizes, **(TINY | TINY_FOR_VLLM | TINY_EXPERTS)[model_type], **overrides},
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    # Fresh norms are all ones and fresh weights tiny: a mistake in either would hide.
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            scale = 0.3 if parameter.ndim == 1 else 0.1
            parameter.add_(scale * torch.randn_like(parameter) if "embed" not in name else 0.0)
    return model


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint: Callable[[str], Path]) -> Lens:
    """A tiny random Llama, loaded."""
    return load_model(str(tiny_checkpoint("llama")), device="cpu")


@functools.cache
def _loaded(spec: str, _stamp: object, *arguments: Any, **options: Any) -> Lens:
    return load_model(spec, *arguments, **options)


def loaded_once(spec: str = "embedded", *arguments: Any, **options: Any) -> Lens:
    """`load_model` that loads a model once, as long as its files stay as they are."""
    files = tuple((str(file), file.stat().st_mtime_ns) for file in sorted(Path(spec).glob("*")))
    return _loaded(spec, (os.environ.get("AMYGDALA_TL_CACHE"), files), *arguments, **options)


@pytest.fixture
def models_load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is done with a model: commands that name the same one share it, as loading it takes half a second."""
    for module in (of_lens, of_verbs, of_verify):
        monkeypatch.setattr(module, "load_model", loaded_once)
