"""How long a fit and a judgement from a store take, and how much memory, at any size.

    python benchmarks/scale.py --texts 20000                      # 171 concepts x 4 layers x 5,120, on two cores some minutes
    python benchmarks/scale.py --texts 4000 --d-model 576 --concepts 24

It makes a synthetic store through the store's own interface (activations of `benchmarks/fit.py`, words of a Zipf distribution),
and fits and judges `whitened` in a process each. Peak memory is that of the process; it includes pages of the store's files that
are mapped at the time. Processes that fit bags of words add theirs, `workers`. Seconds of CPU are those of all threads and
processes: what the work costs on a machine that others use too.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fit import Stream, draw_labels
from joblib.externals.loky import get_reusable_executor
from rich.console import Console
from rich.table import Table

from amygdala_tl import fit, judge, load_readout
from amygdala_tl.activations.pooling import Pooled
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.diagnostics import diagnose, evaluation
from amygdala_tl.directions.method import parse_method
from amygdala_tl.records import CaptureSettings, CorpusText, ModelInfo

PARTS = (
    (diagnose, "cross_fit_streamed", "cross-fitting"),
    (diagnose, "layer_separation", "separation at every layer"),
    (diagnose, "cross_fitted_words", "bag of words"),
    (diagnose, "random_direction_nulls", "random directions"),
    (evaluation, "permutation_null", "permutations"),
    (evaluation, "auroc_intervals", "intervals of AUROC"),
    (evaluation, "average_precision_interval", "intervals of average precision"),
    (diagnose, "layer_cross_talk", "cross-talk"),
    (diagnose.Diagnoser, "quality", "spread, neighbours and outliers"),
)
"""Where a part of a judgement is called, its name there, and what it is."""

WORDS, LENGTH = 20_000, 30
SHARD = 1000


def corpus_of(arguments: argparse.Namespace) -> Corpus:
    """Texts of random words in groups of two; a fifth of the groups is held out, and a twentieth of the labels unknown."""
    positive, _ = draw_labels(arguments.texts, arguments.concepts, seed=0)
    known = torch.rand(positive.shape, generator=torch.Generator().manual_seed(2)) > 0.05
    names = tuple(f"concept{number}" for number in range(arguments.concepts))
    words = np.random.default_rng(0).zipf(1.3, (arguments.texts, LENGTH)) % WORDS
    texts = []
    for row, (yes, sure) in enumerate(zip(positive.numpy(), known.numpy(), strict=True)):
        text = " ".join(f"w{word}" for word in words[row]) + f" number{row}"
        group, split = str(row // 2), "heldout" if (row // 2) % 5 == 0 else "train"
        labels = (tuple(names[place] for place in np.flatnonzero(some)) for some in (yes & sure, ~yes & sure))
        texts.append(CorpusText(hashlib.sha256(text.encode()).hexdigest(), text, group, split, {"x": 9.0}, *labels))
    return Corpus(names, tuple(texts), {}, {}, {}, "synthetic")


def make(folder: Path, corpus: Corpus, arguments: argparse.Namespace) -> None:
    """Write the store."""
    layers, d_model = arguments.layers, arguments.d_model
    info = ModelInfo("synthetic", None, "0" * 64, "None", "HookedTransformer", {}, "float32", layers, d_model, 512)
    store = ActivationStore.for_model(folder, info, CaptureSettings())
    positive, _ = draw_labels(arguments.texts, arguments.concepts, seed=0)
    streams = [Stream(d_model, arguments.concepts, arguments.separation, seed) for seed in range(layers)]
    draws = torch.Generator().manual_seed(1)
    for rows in torch.split(torch.arange(arguments.texts), SHARD):
        values = torch.stack([stream.draw(positive[rows], draws) for stream in streams], dim=1)
        sampled = torch.arange(0, len(rows), 4)
        tokens = torch.full((len(rows), layers), LENGTH, dtype=torch.int32)
        pooled = Pooled(
            {p: values.clone() for p in ("pooled", "last", "last-content")}, tokens, sampled.int(), values[sampled]
        )
        store.add([corpus.texts[row].id for row in rows.tolist()], range(layers), pooled, 0.25)


def stage(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one stage in this process."""
    torch.set_num_threads(arguments.threads)
    corpus = corpus_of(arguments)
    before, parts = peak(), Counter[str]()
    for owner, function, label in PARTS:
        setattr(owner, function, timed(getattr(owner, function), label, parts))
    started, cpu = time.perf_counter(), sum(os.times()[:4])
    if name == "make":
        make(folder, corpus, arguments)
    else:
        store = ActivationStore.find(folder)
        if name == "fit":
            fit(corpus, store, aggregator=str(parse_method(arguments.aggregator, ""))).save(
                folder / "readout.safetensors"
            )
        else:
            found = judge(load_readout(folder / "readout.safetensors"), corpus, store)
            verdicts = [each.verdict for each in found.quality]
            print({name: verdicts.count(name) for name in set(verdicts)}, file=sys.stderr)
    seconds = time.perf_counter() - started
    children = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    memory = {"peak": peak(), "workers": sum(map(peak, children)), "before": before}
    get_reusable_executor().shutdown()  # seconds of processes count once they have ended
    shares = {label: round(part / seconds, 3) for label, part in parts.most_common()}
    return {"seconds": seconds, "cpu": sum(os.times()[:4]) - cpu, **memory, "shares": shares}


def timed(function: Callable[..., Any], label: str, seconds: Counter[str]) -> Callable[..., Any]:
    """Add the seconds that a function takes to those of its label."""

    @wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            seconds[label] += time.perf_counter() - started

    return run


def peak(process: str = "self") -> float:
    """Peak memory of a process in GB."""
    return int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0]) / 2**20


def main() -> None:
    """Run the stages and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--concepts", type=int, default=171)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--d-model", type=int, default=5120)
    parser.add_argument("--aggregator", default="whitened")
    parser.add_argument("--separation", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--folder", type=Path, help="where the store is kept, and found again; a temporary one if left out"
    )
    parser.add_argument(
        "--stage", choices=["make", "fit", "judge"], help="run one stage, and print its numbers as JSON"
    )
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(stage(arguments.stage, arguments.folder, arguments)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.folder or Path(made)
        sizes = (
            f"{arguments.concepts} concepts x {arguments.layers} layers x {arguments.d_model} x {arguments.texts} texts"
        )
        table = Table(title=f"{sizes}, {arguments.aggregator}, {arguments.threads} threads")
        for column in ("stage", "seconds", "seconds of CPU", "peak GB", "workers, GB", "before, GB"):
            table.add_column(column)
        for name in ("make", "fit", "judge"):
            if name == "make" and list(folder.glob("*/store.json")):
                continue
            done = subprocess.run(
                [sys.executable, *sys.argv, "--stage", name, "--folder", str(folder)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            found = json.loads(done.stdout)
            table.add_row(name, *(f"{found[key]:.2f}" for key in ("seconds", "cpu", "peak", "workers", "before")))
            print(name, found, flush=True)
        Console(width=130).print(table)


if __name__ == "__main__":
    main()
