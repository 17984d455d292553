"""What readouts cost a server: the embedded model with 171 concepts x 4 layers, beside the same server without them.

    python benchmarks/serving.py --pairs 20
    python benchmarks/serving.py --pairs 10 --size 8B --at-once 64 --steer      # on a GPU

Two vLLM servers of the embedded model, or of random weights of a usual shape, stand side by side, one with the plugin on; a run
goes to one while the other is idle, and each pair of runs goes to both, in alternating order, with the same prompts. A run is
eight requests at once, or as many as are asked for: `decode` generates 40 tokens each,
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
from shapes import SIZES, config_of, write_checkpoint

from amygdala_tl.lens.embedded import embedded_checkpoint

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


def write_bundle(folder: Path, n_concepts: int, d_model: int, layers: tuple[int, ...]) -> Path:
    """A bundle of random directions."""
    generator = torch.Generator().manual_seed(0)
    vectors = {layer: torch.randn(n_concepts, d_model, generator=generator) for layer in layers}
    data = save({
        f"layer_{layer}.vectors": (each / each.norm(dim=-1, keepdim=True)).half() for layer, each in vectors.items()
    })  # fmt: skip
    (folder / "r.safetensors").write_bytes(data)
    manifest = {
        "concepts": [f"concept{index}" for index in range(n_concepts)], "layers": list(layers), "hidden_size": d_model,
        "dtype": "float16", "amygdala_tl": {"format_version": 1, "tensors_sha256": hashlib.sha256(data).hexdigest()},
    }  # fmt: skip
    (folder / "r.json").write_text(json.dumps(manifest))
    return folder / "r.safetensors"


@contextmanager
def server(log: Path, model: Path, arguments: list[str], bundle: Path | None, **more: str) -> Iterator[Server]:
    """A server on loopback, with `more` in its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)),
        *("--served-model-name", "m", "--host", "127.0.0.1", "--port", str(port)),
        *("--max-model-len", "1024", "--no-enable-prefix-caching", *arguments),
    ]
    on = {} if bundle is None else {
        "VLLM_READOUT_VECTORS": str(bundle), "VLLM_READOUT_MANIFEST": str(bundle.with_suffix(".json"))
    }  # fmt: skip
    defaults = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=defaults | dict(os.environ) | on | more, stdout=stream, stderr=stream)
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


def bodies(kind: str, seed: int, at_once: int) -> list[dict[str, Any]]:
    """Requests of random token ids."""
    chosen = random.Random(seed)
    n_prompt, n_tokens = (256, 1) if kind == "prefill" else (16, 40)
    return [
        {
            "model": "m", "prompt": [chosen.randint(100, 40000) for _ in range(n_prompt)], "max_tokens": n_tokens,
            "temperature": 0, "ignore_eos": True, "stream": kind == "decode, streamed",
        }
        for _ in range(at_once)
    ]  # fmt: skip


def run(server: Server, kind: str, seed: int, at_once: int) -> Took:
    """Requests at once, until all are answered."""
    asked = bodies(kind, seed, at_once)
    with ThreadPoolExecutor(at_once) as pool:
        before = (time.perf_counter(), *server.processor_seconds())
        list(pool.map(lambda body: post(server.port, body), asked))
        after = (time.perf_counter(), *server.processor_seconds())
    return Took(*(end - start for start, end in zip(before, after, strict=True)))


def compare(name: str, kind: str, first: Server, second: Server, number: int, at_once: int) -> None:
    """Run pairs in alternating order, and print their ratios."""
    taken: list[tuple[Took, Took]] = []
    for seed in range(number):
        servers = (second, first) if seed % 2 else (first, second)
        one, other = (run(server, kind, seed, at_once) for server in servers)
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
    parser.add_argument(
        "--size", choices=SIZES, help="random weights of this shape, in bfloat16, in place of the embedded model"
    )
    parser.add_argument("--at-once", type=int, default=8, help="requests at once")
    parser.add_argument(
        "--steer", action="store_true", help="let the server with readouts steer too; nothing is steered"
    )
    parser.add_argument("--arguments", default="", help="of both servers, in one string")
    said = parser.parse_args()
    arguments = [
        *said.arguments.split(),
        *(["--enforce-eager"] if said.eager else []),
        "--max-num-seqs",
        str(2 * said.at_once),
    ]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if said.size is None:
            model, depth, d_model = embedded_checkpoint(), 30, 576
            arguments += ["--dtype", "float32"]
        else:
            model, config = write_checkpoint(said.size, folder / "model"), config_of(said.size)
            depth, d_model = config.num_hidden_layers, config.hidden_size
            arguments += ["--dtype", "bfloat16", "--load-format", "dummy"]
        layers = tuple(depth * share // 30 for share in (10, 14, 19, 23))
        bundle = write_bundle(folder, said.concepts, d_model, layers)
        more = {"VLLM_READOUT_STEER": "1"} if said.steer else {}
        off = stack.enter_context(server(folder / "off.log", model, arguments, None))
        on = stack.enter_context(server(folder / "on.log", model, arguments, bundle, **more))
        what = f"{said.concepts} concepts x {len(layers)} layers{', which can be steered' if said.steer else ''}"
        print(f"{said.size or 'embedded model'}, {what}, {said.pairs} pairs, {said.at_once} requests at once")
        print("with readouts / without, median [95% interval] middle half; median seconds of a run with and without")
        print(f"{'':22} {'time':40} {'processor, engine':40} {'processor, whole server':40} with without")
        for kind in said.kinds.split(";"):
            for server_ in (on, off):
                run(server_, kind, -1, said.at_once)  # warm
            compare(kind, kind, on, off, said.pairs, said.at_once)
        compare("decode, both without", "decode", off, off, said.pairs, said.at_once)


if __name__ == "__main__":
    main()
