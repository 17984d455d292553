"""How fast the package is beside the machine's own rate of matrix products and beside other libraries: `make bench`.

Everything runs on the embedded model at layers 9, 18 and 20, in float32, on the CPU. Texts are GoEmotions (Demszky et al. 2020,
arXiv:2005.00547; CC BY 4.0). Ours and the peers' runs alternate, and ratios are medians over pairs of neighbouring runs.

    python benchmarks/bench.py --data DIR               # all parts, about 40 minutes on two cores
    python benchmarks/bench.py --data DIR --only rate

Parts: rate (share of the matrix-product rate), w1 (8 concepts, 400 texts), w2 (64 concepts, 800 texts), fit (logistic
regressions), tokens (what runs of 11,000 short texts behind the chat template), start (commands that load no model), read (one
sentence), demo (cold and warm). Peers: `run_with_cache`, steering-vectors, repeng if it is installed, scikit-learn.
"""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import fit as fits
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

import amygdala_tl as at
from amygdala_tl.activations.runner import run_batches, tokenize_for
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.tokenize import TokenizedText
from amygdala_tl.records import CaptureSettings, ChatTemplate

LAYERS = [9, 18, 20]
PARTS = ("rate", "w1", "w2", "fit", "tokens", "start", "read", "demo")
JOINED = 12
"""Texts of GoEmotions that make one long text, of about 200 tokens."""

Row = tuple[str, str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv and labels.txt of GoEmotions")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part instead of all; may be repeated")
    parser.add_argument("--pairs", type=int, default=3, help="runs of ours and of a peer that are compared")
    options = parser.parse_args()
    console = Console(width=150)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformer-lens", "transformers"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    console.print(f"{cpu()}, {torch.get_num_threads()} threads; {packages}; commit {commit or 'unknown'}")
    for part in options.only or PARTS:
        table = Table("what", "measured", "beside it", width=150)
        for row in globals()[f"part_{part}"](options):
            table.add_row(*row)
        console.print(table)


def cpu() -> str:
    """Name of the processor."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if sys.platform == "linux" else None
    return found.group(1) if found else platform.processor()


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ratios(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median ratio theirs / ours of neighbouring runs, after one run of each."""
    ours(), theirs()
    times = [(seconds(ours), seconds(theirs)) for _ in range(pairs)]
    mine, others = (statistics.median(column) for column in zip(*times, strict=True))
    return mine, others, statistics.median(other / own for own, other in times)


def products(lens: Lens, tokens: int = 1024) -> tuple[Callable[[], None], float]:
    """Matrix products of one decoder layer for `tokens` tokens, and their floating-point operations."""
    config = lens.model.original_model.config
    d_model, inner = config.hidden_size, config.intermediate_size
    keys = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    shapes = [(d_model, d_model), (d_model, keys), (d_model, keys), (d_model, d_model)] + 2 * [(d_model, inner)]
    weights = [torch.randn(rows, columns) for columns, rows in [*shapes, (inner, d_model)]]
    inputs = {size: torch.randn(tokens, size) for size in (d_model, inner)}

    def run() -> None:
        for weight in weights:
            F.linear(inputs[weight.shape[1]], weight)

    return run, 2.0 * tokens * sum(weight.numel() for weight in weights)


def part_rate(options: argparse.Namespace) -> list[Row]:
    """Share of the matrix-product rate at the model's own shapes, counting text tokens only."""
    rows: list[Row] = []
    texts = [text for text, _ in goemotions(options)]
    long = [" ".join(texts[start : start + JOINED]) for start in range(0, 30 * JOINED, JOINED)]
    product, flops = products(at.load_model("embedded", "float32", "cpu", engine="TransformerBridge"))
    for engine in ("TransformerBridge", "HookedTransformer"):
        try:
            lens = at.load_model("embedded", "float32", "cpu", engine=engine)
        except at.AmygdalaError as reason:
            rows.append((engine, "not measured", str(reason)))
            continue
        rows += [row for some in (texts[:300], long) for row in rates(lens, some, product, flops, options.pairs)]
    return rows


def rates(lens: Lens, texts: list[str], product: Callable[[], None], flops: float, pairs: int) -> tuple[Row, Row]:
    """Our capture beside matrix products, and `run_with_cache` beside our capture."""
    found = tokenize_for(lens, texts, CaptureSettings())
    tokenized = [text for text in found if isinstance(text, TokenizedText)]
    n_tokens = sum(text.n_tokens for text in tokenized)
    needed = flops / 1024 * n_tokens * (LAYERS[-1] + 1)
    names = [f"blocks.{layer}.hook_resid_post" for layer in LAYERS]

    def capture() -> None:
        for _ in run_batches(lens, tokenized, LAYERS):
            pass

    def products_alone() -> None:
        for _ in range(round(needed / flops)):
            product()

    @torch.no_grad()
    def cached() -> None:
        for start in range(0, len(tokenized), 32):
            rows = [torch.tensor(text.ids) for text in tokenized[start : start + 32]]
            padded = pad_sequence(rows, batch_first=True)
            lens.model.run_with_cache(padded, names_filter=names, stop_at_layer=LAYERS[-1] + 1)

    what = f"{lens.info.engine}, {len(tokenized)} texts of {n_tokens / len(tokenized):.0f} tokens"
    mine, ideal, share = ratios(capture, products_alone, pairs)
    _, theirs, ratio = ratios(capture, cached, pairs)
    rate = f"{needed / ideal / 1e9:.0f} GFLOP/s; {n_tokens / mine:.0f} tokens/s"
    return (
        (f"share of the matrix-product rate: {what}", f"{share:.2f}", rate),
        (f"run_with_cache, 32 texts a batch: {what}", f"{ratio:.2f} times our time", f"{theirs:.2f} s"),
    )


def goemotions(options: argparse.Namespace) -> list[tuple[str, list[int]]]:
    rows = (line.split("\t") for line in (options.data / "train.tsv").read_text(encoding="utf-8").splitlines())
    return [(text, [int(label) for label in labels.split(",")]) for text, labels, _ in rows]


def part_w1(options: argparse.Namespace) -> list[Row]:
    """The eight most common emotions, 50 texts of each."""
    rows = goemotions(options)
    neutral = len((options.data / "labels.txt").read_text(encoding="utf-8").split()) - 1
    alone = [(text, labels[0]) for text, labels in rows if len(labels) == 1 and labels[0] != neutral]
    common = sorted({label for _, label in alone}, key=lambda label: -sum(label == other for _, other in alone))[:8]
    chosen = [pair for label in common for pair in [each for each in alone if each[1] == label][:50]]
    positive = torch.tensor([[label == concept for concept in common] for _, label in chosen])
    return against_peers("8 concepts, 400 texts", [text for text, _ in chosen], positive, options)


def part_w2(options: argparse.Namespace) -> list[Row]:
    """64 concepts drawn at random, five a text: the labels mean nothing, the work is real."""
    texts = [text for text, _ in goemotions(options)[:800]]
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(len(texts), 64, generator=generator).argsort(dim=1)
    positive = order < 5
    return against_peers("64 concepts, 800 texts, 5 tags a text", texts, positive, options, sampled=2)


def against_peers(
    name: str, texts: list[str], positive: Tensor, options: argparse.Namespace, sampled: int | None = None
) -> list[Row]:
    """Difference of means of every concept at every layer, and what peers make of balanced pairs of the same texts.

    steering-vectors computes differences of means too, repeng the first principal component of the pairs' differences.
    """
    from steering_vectors import train_steering_vector
    from transformers import AutoModelForCausalLM

    from amygdala_tl.lens.embedded import embedded_checkpoint

    np.float_ = np.float64  # repeng 0.4.0 was written for NumPy 1
    try:
        import repeng
    except ImportError:
        repeng = None
    lens = at.load_model("embedded", "float32", "cpu")
    model = AutoModelForCausalLM.from_pretrained(embedded_checkpoint(), dtype=torch.float32).eval()
    labels = [[f"c{column}" for column in row.nonzero()[:, 0].tolist()] for row in positive]
    corpus = at.Corpus.from_texts(texts, labels)
    generator = torch.Generator().manual_seed(1)
    pairs = []
    for column in range(positive.shape[1]):
        own, other = (mask.nonzero()[:, 0].tolist() for mask in (positive[:, column], ~positive[:, column]))
        picked = [other[place] for place in torch.randperm(len(other), generator=generator)[: len(own)].tolist()]
        pairs.append([(texts[a], texts[b]) for a, b in zip(own, picked, strict=False)])
    some = pairs[: sampled or len(pairs)]
    scale = len(pairs) / len(some)
    rows = []
    for template in ("none", "user"):

        def ours(template: ChatTemplate = template) -> None:
            with tempfile.TemporaryDirectory() as folder:
                store, _ = at.capture(corpus, lens, folder, layers=LAYERS, chat_template=template)
                at.fit(corpus, store, aggregator="mean", min_examples=1)

        def wrapped(text: str, template: str = template) -> str:
            if template == "none":
                return text
            return lens.tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False)

        def steering_vectors(batch: int, wrapped: Callable[[str], str] = wrapped) -> None:
            for samples in some:
                both = [(wrapped(a), wrapped(b)) for a, b in samples]
                train_steering_vector(model, lens.tokenizer, both, layers=LAYERS, batch_size=batch)

        def control_vectors(batch: int, wrapped: Callable[[str], str] = wrapped) -> None:
            for samples in some:
                both = [repeng.DatasetEntry(wrapped(a), wrapped(b)) for a, b in samples]
                repeng.ControlVector.train(model, lens.tokenizer, both, hidden_layers=LAYERS, batch_size=batch)

        peers = [(steering_vectors, "steering-vectors", 1), (steering_vectors, "steering-vectors", 16)]
        for peer, package, batch in [*peers, *([] if repeng is None else [(control_vectors, "repeng", 32)])]:
            theirs = partial(peer, batch)
            mine, other, ratio = ratios(ours, theirs, max(1, options.pairs // 2))
            behind = "" if template == "none" else " behind the chat template"
            scaled = f" ({len(some)} of {len(pairs)} concepts, scaled)" if scale > 1 else ""
            beside = f"{mine:.1f} s; {package} {version(package)}, batches of {batch}: {other * scale:.1f} s{scaled}"
            rows.append((f"{name}{behind}", f"{ratio * scale:.1f} times as fast", beside))
    return rows


def part_fit(options: argparse.Namespace) -> list[Row]:
    """The regressions of `benchmarks/fit.py`, 64 concepts at four layers, beside scikit-learn's of the same objective."""
    table = Table("estimator", "size", "what", "ours", "scikit-learn")
    said = {"strength": None, "separation": 4.0, "layers": 4, "sample": 8, "solver": "lbfgs", "cross_validation": False}
    fits.regression(table, "logistic", argparse.Namespace(**said), l1=False, sizes=(64, 576, 6000))
    _, sizes, whats, ours, theirs = (list(column.cells) for column in table.columns)
    found = dict(zip(whats, zip(ours, theirs, strict=True), strict=True))
    mine, other = found["seconds"]
    beside = f"{mine} s; scikit-learn {version('scikit-learn')}: {other.replace(' ', ' s ', 1)}"
    return [
        (f"logistic regressions of {sizes[0]}", f"{found['times faster'][0]} times as fast", beside),
        ("our objective above scikit-learn's, at worst", found["worst excess of objective"][0], ""),
    ]


def part_tokens(options: argparse.Namespace) -> list[Row]:
    """Tokens of 11,000 short texts behind the chat template, and how many of them run."""
    lens = at.load_model("embedded", "float32", "cpu")
    tokenized = tokenize_for(
        lens, [text for text, _ in goemotions(options)[:11_000]], CaptureSettings(chat_template="user")
    )
    runnable = [text for text in tokenized if isinstance(text, TokenizedText)]
    ran, whole = sum(text.n_tokens for text in runnable), sum(len(text.ids) for text in runnable)
    return [
        (
            f"tokens run for {len(runnable):,} short texts behind the chat template",
            f"{ran:,}",
            f"{whole:,} with all that surrounds them",
        )
    ]


def command(*arguments: str, **environment: str) -> tuple[float, float]:
    """Seconds and peak memory in GB of one command, as a process of its own."""
    code = (  # a process has the peak of its children together, so each command has a parent of its own
        "import resource, subprocess, sys, time; start = time.perf_counter();"
        "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode;"
        "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    program = str(Path(sys.executable).with_name("amygdala-tl"))
    done = subprocess.run(
        [sys.executable, "-c", code, program, *arguments],
        capture_output=True, text=True, check=True, env=os.environ | environment,
    )  # fmt: skip
    taken, peak = done.stdout.split()
    return float(taken), int(peak) / (2**30 if sys.platform == "darwin" else 2**20)


def part_start(options: argparse.Namespace) -> list[Row]:
    """Commands that load no model."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = demo_bundle(Path(folder))
        rows = []
        for arguments in (["inspect", str(bundle)], ["--help"]):
            command(*arguments)
            taken = statistics.median(command(*arguments)[0] for _ in range(options.pairs))
            empty = statistics.median(seconds(lambda: subprocess.run([sys.executable, "-c", ""])) for _ in range(5))
            rows.append((arguments[0], f"{taken:.2f} s", f"Python alone: {empty:.2f} s"))
        return rows


def part_read(options: argparse.Namespace) -> list[Row]:
    """One sentence read by a readout of the embedded model, with everything that is kept between runs in place."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = demo_bundle(Path(folder))
        arguments = ["read", "--readout", str(bundle), "The lamp went out, and I was glad of the dark."]
        command(*arguments)
        found = [command(*arguments) for _ in range(3)]
        taken, memory = (statistics.median(column) for column in zip(*found, strict=True))
        return [("read of one sentence", f"{taken:.1f} s", f"{memory:.2f} GB at the peak")]


def part_demo(options: argparse.Namespace) -> list[Row]:
    """`amygdala-tl demo`, with an empty cache folder and again."""
    with tempfile.TemporaryDirectory() as folder:
        run = ["demo", "--output-dir", f"{folder}/out"]
        cold, warm = (command(*run, XDG_CACHE_HOME=f"{folder}/cache")[0] for _ in range(2))
    return [("demo, empty cache", f"{cold:.0f} s", ""), ("demo again", f"{warm:.0f} s", "")]


def demo_bundle(folder: Path) -> Path:
    """A small readout of the embedded model."""
    texts = [
        f"The {thing} was {state} today."
        for thing in ("lamp", "river", "letter", "house")
        for state in ("bright", "dark")
    ]
    labels = [["joy" if "bright" in text else "fear"] for text in texts]
    corpus = at.Corpus.from_texts(texts, labels, min_examples=1)
    lens = at.load_model("embedded", "float32", "cpu")
    store, _ = at.capture(corpus, lens, folder / "activations", layers=LAYERS)
    at.fit(corpus, store, aggregator="mean", min_examples=1).save(folder / "readout.safetensors")
    return folder / "readout.safetensors"


if __name__ == "__main__":
    main()
