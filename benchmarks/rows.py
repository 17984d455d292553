"""What a token costs the process that serves: store, windows, alerts, metrics and JSON, at 171 concepts x 4 layers.

    python benchmarks/rows.py

Rows go into a real store with real rules, as a server's event loop puts them there: one sequence alone, and 32 sequences a
step. Rows that wait are looked at after as many steps as come in the time that the server waits, at `--rate` tokens a second of
each sequence. JSON is what a streamed answer holds of each token: its scores, and those over all layers. Processor microseconds
a token, the median and the range of some runs. Sending and receiving rows is not part of it.
"""

import argparse
import asyncio
import statistics
import time

import numpy as np
import torch

from amygdala_tl.readout.record import Readout
from amygdala_tl.readout.scale import Combined, Scale
from amygdala_tl.records import Calibration, LengthCalibration
from amygdala_tl.routes.collector import Collector, collector_of
from amygdala_tl.routes.metrics import TextMetrics
from amygdala_tl.routes.rules import rule_of
from amygdala_tl.routes.store import Entry, Step
from amygdala_tl.routes.watch import PAUSE

CONCEPTS = tuple(f"concept{at}" for at in range(171))
LAYERS = (10, 14, 19, 23)
SHAPE = len(LAYERS), len(CONCEPTS)
KINDS = {
    "store alone": (0, 0, False),
    "8 rules": (8, 0, False),
    "171 rules, 32 concepts in the metrics": (171, 32, False),
    "store, and each token as JSON": (0, 0, True),
}
"""Numbers of rules and of concepts in the metrics, and whether tokens are written."""


def a_readout() -> Readout:
    """A readout with every calibration that alerts use."""
    of, one = Calibration(torch.zeros(SHAPE), torch.ones(SHAPE), 1000), (1, len(CONCEPTS))
    lengths = LengthCalibration(torch.zeros(one), torch.full(one, 0.3), torch.full((1, 1), 4.0), 40)
    scale = Scale(None, Calibration(torch.zeros(one), torch.full(one, 2.0), 1000), lengths)
    vectors = torch.eye(len(CONCEPTS)).expand(len(LAYERS), -1, -1)
    return Readout(CONCEPTS, LAYERS, vectors, token_calibration=of, combined=Combined(torch.ones(SHAPE), scale))


def collector(n_rules: int, n_metrics: int) -> Collector:
    """A collector that looks at so many concepts."""
    rules = [rule_of(f"{name}>3@window=64") for name in CONCEPTS[:n_rules]]
    made = collector_of(a_readout(), TextMetrics, with_text=False, rules=rules, concepts=CONCEPTS[:n_metrics])
    made.watch()
    return made


async def run(kind: str, n_sequences: int, n_tokens: int, rate: float) -> float:
    """Processor microseconds a token, of sequences that are opened, filled and finished."""
    n_rules, n_metrics, writes = KINDS[kind]
    made, random = collector(n_rules, n_metrics), np.random.default_rng(0)
    names = [f"{at}_cmpl-a" for at in range(n_sequences)]
    requests = tuple((name, 1) for name in names)
    n_steps, waits = n_tokens // n_sequences, max(1, round(PAUSE * rate))
    pool = [random.normal(size=(n_sequences, *SHAPE)).astype(np.float32) for _ in range(16)]
    steps = [Step(requests, np.full(n_sequences, 4 + at), pool[at % 16]) for at in range(n_steps)]
    before = time.process_time()
    for name in names:
        made.store.open(Entry(name, name, 0, list(range(5))))
    for at, step in enumerate(steps):
        made.store.add(step)
        if at % waits == 0:
            made.look()
        if writes:
            for name in names:
                made.store.running[name].rows.fragment(range(4 + at, 5 + at), made.weights)
    for name in names:
        made.store.finish(name)
    return 1e6 * (time.process_time() - before) / (n_steps * n_sequences)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=6400)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=40.0, help="tokens a second of each sequence")
    said = parser.parse_args()
    print(f"{len(CONCEPTS)} concepts x {len(LAYERS)} layers, {said.rate:g} tokens/s: processor microseconds a token")
    for n_sequences in (1, 32):
        for kind in KINDS:
            took = [asyncio.run(run(kind, n_sequences, said.tokens, said.rate)) for _ in range(said.runs)]
            found = f"{statistics.median(took):6.1f} ({min(took):.1f}-{max(took):.1f})"
            print(f"{n_sequences:3} at once  {kind:40} {found}", flush=True)


if __name__ == "__main__":
    main()
