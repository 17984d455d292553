"""What the commands work on: a graph, a tiny random model with its own tokenizer, and all that the commands make of them."""

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amygdala_tl.demo import demo_graph_path
from tests.chaos import objects  # noqa: F401  # its file system
from tests.chaos.forks import command

EVERY = 4  # notes of the demo graph
TEMPLATE = "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>\n{% endfor %}"
FIT = ("--aggregator", "whitened", "--min-examples", "3")
CAPTURE = ("--model", "model", "--target-layers", "1,2", "--max-tokens", "48", "--batch-size", "8")
STEER = ("--doses", "0,0.4", "--random", "3", "--layers", "1", "--concepts", "grief,joy", "--samples", "1")


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        name: what the table calls it.
        arguments: of the command, with paths from its folder.
        needs: files and folders that it reads.
        makes: files and folders that it writes.
        older: file or folder of the stage -> its name here: an older version of what it writes, which is in the way.
        remote: it writes into an object store.
    """

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    older: tuple[tuple[str, str], ...] = ()
    remote: bool = False


ENDINGS = (".safetensors", ".write.safetensors", ".json")
BUNDLE, OUT = (tuple(f"{name}{ending}" for ending in ENDINGS) for name in ("readout", "out"))
FITTED = ((BUNDLE[0], "whitened"), ("older.safetensors", "mean"))
_OLD = tuple((f"older{ending}", f"out{ending}") for ending in ENDINGS)

EXTRACT = ("extract", "--memory-file", "graph.jsonl", "--output-dir", "corpus", "--top-emotions", "4")
DATA = ("--training-data-dir", "corpus")
JOBS = (
    Job("extract", EXTRACT, ("graph.jsonl",), ("corpus",)),
    Job("extract over an older corpus", EXTRACT, ("graph.jsonl",), ("corpus",), (("older-corpus", "corpus"),)),
    Job(
        "capture",
        ("capture", *DATA, "--activations-dir", "activations", *CAPTURE),
        ("corpus", "model"),
        ("activations",),
    ),
    Job(
        "fit",
        ("fit", *DATA, "--activations-dir", "activations", "--output", OUT[0], *FIT),
        ("corpus", "activations"),
        OUT,
        _OLD,
    ),
    Job(
        "train",
        ("train", *DATA, "--output", OUT[0], *FIT, *CAPTURE),
        ("corpus", "model"),
        (*OUT, "activations"),
    ),
    Job(
        "capture into an object store",
        ("capture", *DATA, "--activations-dir", "objects://activations", *CAPTURE),
        ("corpus", "model"),
        ("activations",),
        remote=True,
    ),
    Job(
        "fit from an object store",
        ("fit", *DATA, "--activations-dir", "objects://activations", "--output", OUT[0], *FIT),
        ("corpus", "activations"),
        OUT,
        _OLD,
    ),
    Job("export", ("export", "--fit-file", BUNDLE[0], "--output", OUT[0]), BUNDLE, OUT, _OLD),
    Job(
        "steer",
        ("steer", "--readout", BUNDLE[0], "--model", "model", *DATA, "--out", "steering", *STEER),
        (*BUNDLE, "corpus", "activations", "model"),
        ("steering",),
    ),
)


def build(stage: Path) -> None:
    """Fill a folder with everything that any of the jobs needs."""
    from amygdala_tl.activations import plan

    plan.SHARD_TEXTS = 16  # so that a kill meets a store of some shards, as it does with a thousand times as many texts
    stage.mkdir()
    notes = demo_graph_path().read_text(encoding="utf-8").splitlines(keepends=True)
    (stage / "graph.jsonl").write_text("".join(notes[::EVERY]), encoding="utf-8")
    (stage / "older.jsonl").write_text("".join(notes[1::EVERY]), encoding="utf-8")
    tiny_checkpoint(stage / "model", notes)
    by_name = {job.name: job.arguments for job in JOBS}
    extract, fit = by_name["extract"], by_name["fit"]
    older = [{"graph.jsonl": "older.jsonl", "corpus": "older-corpus"}.get(word, word) for word in extract]
    fits = [[{OUT[0]: name, "whitened": how}.get(word, word) for word in fit] for name, how in FITTED]
    for arguments in (older, extract, by_name["capture"], *fits):
        run_here(arguments, stage)


def rehearse(stage: Path) -> None:
    """Run every command once in this process, so that its forks find everything imported, and import the server."""
    import amygdala_tl.serve.app  # noqa: F401

    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(stage, scratch, dirs_exist_ok=True)
        for job in JOBS:
            run_here(job.arguments, Path(scratch))


def run_here(arguments: Sequence[str], folder: Path) -> None:
    """Run a command in this process."""
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            command(arguments)()
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"{' '.join(arguments)}: {out.getvalue()}") from ended


def tiny_checkpoint(folder: Path, notes: list[str]) -> None:
    """A random Llama of 3 layers of 32, with a tokenizer made from the notes; nothing is downloaded."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([json.loads(note).get("observations", [""])[0] for note in notes], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(wrapped), hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=256, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def place(stage: Path, job: Job, folder: Path) -> Path:
    """A fresh folder with what a job needs, and what is in its way."""
    folder.mkdir(parents=True)
    for source, name in (*((name, name) for name in job.needs), *job.older):
        if (stage / source).is_dir():
            shutil.copytree(stage / source, folder / name)
        else:
            shutil.copyfile(stage / source, folder / name)
    return folder
