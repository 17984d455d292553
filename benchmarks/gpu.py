"""Capture on a GPU: whether its numbers are those of the CPU, and how fast it is.

    python benchmarks/gpu.py --data DIR                  # all parts, in about five minutes on an H100
    python benchmarks/gpu.py --data DIR --only rate --sizes 32B

Parts: agree (activations of the embedded model beside the CPU's in float32), verdicts (a readout from float32 activations and one
from bfloat16 ones, judged on the same held-out texts), memory (a batch that does not fit runs in halves), rate (texts and tokens
a second on models of usual shapes in bfloat16). The models of `rate` have random weights: what they compute means nothing, how
long it takes does not depend on that. Texts are GoEmotions (Demszky et al. 2020, arXiv:2005.00547; CC BY 4.0).
"""

import argparse
import gc
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from shapes import SIZES, config_of
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

import amygdala_tl as at
from amygdala_tl.activations.runner import pool_texts, run_batches, tokenize_for
from amygdala_tl.lens.checkpoints import Checkpoint
from amygdala_tl.lens.hooks import parse_layers
from amygdala_tl.lens.hugging_face import decoder_layers
from amygdala_tl.lens.model import Lens, lens_of
from amygdala_tl.lens.tokenize import TokenizedText
from amygdala_tl.records import CaptureSettings
from amygdala_tl.settings import CAPTURE

PARTS = ("agree", "verdicts", "memory", "rate")
JOINED = 12
"""Texts of GoEmotions that make one long text, of about 200 tokens."""

Row = tuple[str, str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv and labels.txt of GoEmotions")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part instead of all; may be repeated")
    parser.add_argument("--sizes", default="1B,8B", help=f"models of `rate`, of {', '.join(SIZES)}")
    parser.add_argument("--texts", type=int, default=3000, help="short texts of `rate`")
    parser.add_argument("--rows", type=int, default=12_000, help="texts of `verdicts`")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    console = Console(width=150)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformer-lens", "transformers"))
    device = torch.cuda.get_device_name() if options.device == "cuda" else options.device
    console.print(f"{device}; {packages}")
    for part in options.only or PARTS:
        table = Table("what", "measured", "beside it")
        for row in globals()[f"part_{part}"](options):
            table.add_row(*row)
        console.print(table)


def rows_of(options: argparse.Namespace) -> list[tuple[str, list[int]]]:
    rows = (line.split("\t") for line in (options.data / "train.tsv").read_text(encoding="utf-8").splitlines())
    return [(text, [int(label) for label in labels.split(",")]) for text, labels, _ in rows]


def part_agree(options: argparse.Namespace) -> list[Row]:
    """Largest and median relative difference of a text's activation at a layer from the CPU's in float32."""
    texts, rows = [text for text, _ in rows_of(options)[:300]], []
    for template in ("none", "user"):
        settings = CaptureSettings(chat_template=template)
        found: dict[str, Tensor] = {}
        for name, device, dtype, engine in (
            ("CPU", "cpu", "float32", "TransformerBridge"),
            ("GPU, float32, TransformerBridge", options.device, "float32", "TransformerBridge"),
            ("GPU, float32, HookedTransformer", options.device, "float32", "HookedTransformer"),
            ("GPU, bfloat16, TransformerBridge", options.device, "bfloat16", "TransformerBridge"),
        ):
            lens = at.load_model("embedded", dtype, device, engine=engine)
            layers = parse_layers(CAPTURE.layers, lens.info.n_layers)
            found[name], _ = pool_texts(lens, texts, layers, "pooled", settings)
            if name == "CPU":
                continue
            apart = (found[name] - found["CPU"]).norm(dim=-1) / found["CPU"].norm(dim=-1)
            what = f"{name}, template {template}: relative difference from the CPU in float32"
            rows.append((what, f"{apart.max():.1e} at most", f"median {apart.median():.1e}"))
    return rows


def part_verdicts(options: argparse.Namespace) -> list[Row]:
    """Every emotion with enough texts, from float32 activations and from bfloat16 ones."""
    rows = rows_of(options)[: options.rows]
    names = (options.data / "labels.txt").read_text(encoding="utf-8").split()
    texts = [text for text, _ in rows]
    corpus = at.Corpus.from_texts(
        texts, [[names[label] for label in labels if names[label] != "neutral"] for _, labels in rows]
    )
    found = {}
    for dtype in ("float32", "bfloat16"):
        lens = at.load_model("embedded", dtype, options.device)
        with TemporaryDirectory() as folder:
            start = time.perf_counter()
            store, _ = at.capture(corpus, lens, folder)
            taken = time.perf_counter() - start
            readout = at.fit(corpus, store, aggregator="whitened")
            found[dtype] = at.judge(readout, corpus, store)
        print(
            f"{dtype}: captured in {taken:.1f} s, fitted and judged in {time.perf_counter() - start - taken:.0f} s",
            flush=True,
        )
    one, other = found["float32"], found["bfloat16"]
    apart = (one.evaluation.auroc.value - other.evaluation.auroc.value).abs()
    apart = apart[apart.isfinite()]  # concepts with too few held-out texts have none
    same = sum(a.verdict == b.verdict for a, b in zip(one.quality, other.quality, strict=True))
    return [
        ("held-out AUROC, bfloat16 against float32", f"{apart.max():.4f} apart at most", f"mean {apart.mean():.4f}"),
        ("concepts with the same verdict", f"{same} of {len(one.quality)}", ""),
    ]


def part_memory(options: argparse.Namespace) -> list[Row]:
    """A batch that does not fit, beside the same batch where it does."""
    alone = [text for text, _ in rows_of(options)]
    texts = [" ".join(alone[start : start + JOINED]) for start in range(0, 3000, JOINED)]
    lens = at.load_model("embedded", "float32", options.device)
    layers, settings = parse_layers(CAPTURE.layers, lens.info.n_layers), CaptureSettings()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    plain, _ = pool_texts(lens, texts, layers, "pooled", settings)
    peak = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    allowed = held + (peak - held) // 3
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    torch.cuda.reset_peak_memory_stats()
    halved, _ = pool_texts(lens, texts, layers, "pooled", settings)
    least = torch.cuda.max_memory_allocated()
    torch.cuda.set_per_process_memory_fraction(1.0)
    apart = ((plain - halved).norm(dim=-1) / plain.norm(dim=-1)).max()
    return [
        (
            "memory above the weights, batches of 16,384 tokens",
            f"{(peak - held) / 2**20:.0f} MiB",
            f"weights {held / 2**20:.0f} MiB",
        ),
        (
            "the same with a third of that allowed",
            f"{(least - held) / 2**20:.0f} MiB",
            f"activations {apart:.1e} apart",
        ),
    ]


def part_rate(options: argparse.Namespace) -> list[Row]:
    """Capture on models of usual shapes."""
    texts = [text for text, _ in rows_of(options)]
    short = texts[: options.texts]
    long = [" ".join(texts[start : start + JOINED]) for start in range(0, options.texts * 2, JOINED)]
    rows: list[Row] = []
    for size in options.sizes.split(","):
        try:
            rows += rates(size, short, long, options)
        except (at.AmygdalaError, RuntimeError) as reason:
            rows.append((size, "not measured", str(reason)[:300]))
        gc.collect()
        torch.cuda.empty_cache()
        for row in rows[-5:]:
            print(*row, sep=" | ", flush=True)
    return rows


def rates(size: str, short: list[str], long: list[str], options: argparse.Namespace) -> list[Row]:
    """Load time and rates of one size."""
    tokenizer = at.load_model("embedded", "float32", "cpu").tokenizer
    start = time.perf_counter()
    with torch.device(options.device):
        config = config_of(size, attn_implementation="eager")
        hf_model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="eager")
    hf_model.eval().requires_grad_(False)
    made = time.perf_counter() - start
    layers = parse_layers(CAPTURE.layers, config.num_hidden_layers)
    linear = [
        module
        for layer in decoder_layers(hf_model)[: layers[-1] + 1]
        for module in layer.modules()
        if isinstance(module, nn.Linear)
    ]
    n_parameters = sum(weight.numel() for weight in hf_model.parameters())
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    lens = lens_of(Checkpoint(size, None, hf_model, tokenizer, None), [torch.device(options.device)])
    loaded, weights = time.perf_counter() - start, sum(weight.nbytes for weight in hf_model.parameters())
    peak = torch.cuda.max_memory_allocated()
    product, flops = products(linear, 8192)
    rate = flops / median(product, 5)
    name = f"{size} ({n_parameters / 1e9:.1f}B parameters)"
    rows = [(
        f"{name}, {lens.info.engine}: fingerprint, comparison with Hugging Face, bridge",
        f"{loaded:.0f} s", f"weights {weights / 1e9:.1f} GB, {peak / 1e9:.1f} GB at the peak; random weights took {made:.0f} s",
    )]  # fmt: skip
    for texts in (short, long):
        for template in ("none", "user"):
            rows.append(rate_of(lens, name, texts, layers, flops / 8192, rate, template))
    return rows


def rate_of(
    lens: Lens, name: str, texts: list[str], layers: tuple[int, ...], flops: float, rate: float, template: Any
) -> Row:
    """Tokens a second of the texts themselves, and the share of the rate of matrix products alone."""
    tokenized = [
        text
        for text in tokenize_for(lens, texts, CaptureSettings(chat_template=template))
        if isinstance(text, TokenizedText)
    ]
    n_tokens = sum(text.n_tokens for text in tokenized)

    def run() -> None:
        for _ in run_batches(lens, tokenized, layers):
            pass

    taken = median(run, 3)
    share, speed = n_tokens * flops / taken / rate, n_tokens / taken
    what = f"{name}, template {template}, {len(tokenized)} texts of {n_tokens / len(tokenized):.0f} tokens"
    beside = f"{len(tokenized) / taken:.0f} texts/s; {share:.2f} of the matrix-product rate, {rate / 1e12:.0f} TFLOP/s"
    return what, f"{speed:,.0f} tokens/s", beside


def products(modules: list[nn.Linear], tokens: int) -> tuple[Callable[[], None], float]:
    """All matrix products of some layers for `tokens` tokens, and their floating-point operations."""
    one = modules[0].weight
    inputs = {
        size: torch.randn(tokens, size, device=one.device, dtype=one.dtype)
        for size in {each.in_features for each in modules}
    }
    weights = [each.weight for each in modules]

    @torch.no_grad()
    def run() -> None:
        for weight in weights:
            F.linear(inputs[weight.shape[1]], weight)

    return run, 2.0 * tokens * sum(weight.numel() for weight in weights)


def median(run: Callable[[], None], times: int) -> float:
    """Median seconds of `run` after one run."""
    taken = []
    for _ in range(times + 1):
        synchronize()
        start = time.perf_counter()
        run()
        synchronize()
        taken.append(time.perf_counter() - start)
    return sorted(taken[1:])[(times - 1) // 2]


def mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.0f} MiB"


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
