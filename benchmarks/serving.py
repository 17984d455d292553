"""What readouts cost a server: the embedded model with 171 concepts x 4 layers, beside the same server without them.

    python benchmarks/serving.py --pairs 20

Two vLLM servers stand side by side, one with the plugin on; a run goes to one while the other is idle, and each pair of runs
goes to both, in alternating order, with the same prompts. A run is eight requests at once: `decode` generates 40 tokens each,
`decode, streamed` the same as server-sent events, `prefill` reads prompts of 256 tokens and generates one. The ratio of a pair is
what it takes with readouts over what it takes without, in time and, because a machine is seldom idle, in processor seconds: of
the engine's processes, behind which generation waits, and of the whole server. Medians over pairs, with 95% intervals (bootstrap
over pairs) and the middle half of the pairs. `both without` shows what the machine adds.
"""

import argparse
import hashlib
import http.client
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import save

from amygdala_tl.lens.embedded import embedded_checkpoint

D_MODEL = 576
LAYERS = (10, 14, 19, 23)
AT_ONCE = 8
START_LIMIT = 600  # seconds


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its port, and its serving process."""

    port: int
    process: psutil.Process

    def processor_seconds(self) -> tuple[float, float]:
        """Used so far, by the engine's processes and by all."""
        engine, serving = (
            sum(sum(one.cpu_times()[:2]) for one in some)
            for some in (self.process.children(recursive=True), [self.process])
        )
        return engine, engine + serving


@dataclass(frozen=True, slots=True)
class Took:
    """What a run took, in seconds."""

    time: float
    engine: float
    whole_server: float


def write_bundle(folder: Path, n_concepts: int) -> Path:
    """A bundle of random directions."""
    generator = torch.Generator().manual_seed(0)
    vectors = {layer: torch.randn(n_concepts, D_MODEL, generator=generator) for layer in LAYERS}
    data = save({
        f"layer_{layer}.vectors": (each / each.norm(dim=-1, keepdim=True)).half() for layer, each in vectors.items()
    })  # fmt: skip
    (folder / "r.safetensors").write_bytes(data)
    manifest = {
        "concepts": [f"concept{index}" for index in range(n_concepts)], "layers": list(LAYERS), "hidden_size": D_MODEL,
        "dtype": "float16", "amygdala_tl": {"format_version": 1, "tensors_sha256": hashlib.sha256(data).hexdigest()},
    }  # fmt: skip
    (folder / "r.json").write_text(json.dumps(manifest))
    return folder / "r.safetensors"


@contextmanager
def server(log: Path, arguments: list[str], bundle: Path | None) -> Iterator[Server]:
    """A server of the embedded model on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(embedded_checkpoint())),
        *("--served-model-name", "m", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)),
        *("--max-model-len", "1024", "--max-num-seqs", "16", "--no-enable-prefix-caching", *arguments),
    ]
    on = {} if bundle is None else {
        "VLLM_READOUT_VECTORS": str(bundle), "VLLM_READOUT_MANIFEST": str(bundle.with_suffix(".json"))
    }  # fmt: skip
    defaults = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=defaults | dict(os.environ) | on, stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + START_LIMIT
        while not _healthy(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start: {log.read_text()[-2000:]}")
            time.sleep(0.5)
        yield Server(port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()


def _healthy(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False


def post(port: int, body: dict[str, Any]) -> int:
    """Ask for a completion, and read the answer without looking at it; returns its size."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    size = len(answer.read())
    if answer.status != 200:
        raise SystemExit(f"HTTP {answer.status}")
    return size


def bodies(kind: str, seed: int) -> list[dict[str, Any]]:
    """Eight requests of random token ids."""
    chosen = random.Random(seed)
    n_prompt, n_tokens = (256, 1) if kind == "prefill" else (16, 40)
    return [
        {
            "model": "m", "prompt": [chosen.randint(100, 40000) for _ in range(n_prompt)], "max_tokens": n_tokens,
            "temperature": 0, "ignore_eos": True, "stream": kind == "decode, streamed",
        }
        for _ in range(AT_ONCE)
    ]  # fmt: skip


def run(server: Server, kind: str, seed: int) -> Took:
    """Eight requests at once, until all are answered."""
    asked = bodies(kind, seed)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        before = (time.perf_counter(), *server.processor_seconds())
        list(pool.map(lambda body: post(server.port, body), asked))
        after = (time.perf_counter(), *server.processor_seconds())
    return Took(*(end - start for start, end in zip(before, after, strict=True)))


def compare(name: str, kind: str, first: Server, second: Server, number: int) -> None:
    """Run pairs in alternating order, and print their ratios."""
    taken: list[tuple[Took, Took]] = []
    for seed in range(number):
        servers = (second, first) if seed % 2 else (first, second)
        one, other = (run(server, kind, seed) for server in servers)
        taken.append((other, one) if seed % 2 else (one, other))
    columns = zip(*([a / b for a, b in zip(astuple(x), astuple(y), strict=True)] for x, y in taken), strict=True)
    seconds = (f"{statistics.median(took.time for took in side):.2f}" for side in zip(*taken, strict=True))
    print(f"{name:22}", *(f"{summary(list(column)):40}" for column in columns), *seconds, flush=True)


def summary(ratios: list[float]) -> str:
    """Median, its interval, and the middle half."""
    chosen, n = random.Random(0), len(ratios)
    medians = sorted(statistics.median(chosen.choices(ratios, k=n)) for _ in range(2000))
    low, high = sorted(ratios)[n // 4], sorted(ratios)[-1 - n // 4]
    return f"{statistics.median(ratios):.3f} [{medians[50]:.3f}, {medians[1949]:.3f}] {low:.3f}-{high:.3f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--concepts", type=int, default=171)
    parser.add_argument("--kinds", default="decode;decode, streamed;prefill", help="separated by semicolons")
    parser.add_argument("--eager", action="store_true", help="serve uncompiled")
    said = parser.parse_args()
    arguments = ["--enforce-eager"] if said.eager else []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        off = stack.enter_context(server(folder / "off.log", arguments, None))
        on = stack.enter_context(server(folder / "on.log", arguments, write_bundle(folder, said.concepts)))
        print(f"{said.concepts} concepts x {len(LAYERS)} layers, {said.pairs} pairs, {AT_ONCE} requests at once")
        print("with readouts / without, median [95% interval] middle half; median seconds of a run with and without")
        print(f"{'':22} {'time':40} {'processor, engine':40} {'processor, whole server':40} with without")
        for kind in said.kinds.split(";"):
            for server_ in (on, off):
                run(server_, kind, -1)  # warm
            compare(kind, kind, on, off, said.pairs)
        compare("decode, both without", "decode", off, off, said.pairs)


if __name__ == "__main__":
    main()
