"""Capture in bfloat16 over capture in float32, on this CPU: `python benchmarks/dtypes.py`.

Both models run the same batches in turn, short texts and long ones; the median of the pairs is printed.
"""

import statistics
import time

import torch

from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.lens.residuals import run_resid_post

BATCHES = ((32, 32), (5, 200))
LAYERS = (9, 18, 20)
PAIRS = 5


def seconds(lens: Lens, tokens: torch.Tensor) -> float:
    """CPU seconds of one pass."""
    start = time.process_time()
    run_resid_post(lens.model, tokens, LAYERS)
    return time.process_time() - start


def main() -> None:
    """Print how many times as fast bfloat16 is."""
    plain, half = (load_model("embedded", dtype, "cpu") for dtype in ("float32", "bfloat16"))
    for texts, length in BATCHES:
        tokens = torch.randint(3, 40_000, (texts, length), generator=torch.Generator().manual_seed(0))
        pairs = [(seconds(plain, tokens), seconds(half, tokens)) for _ in range(PAIRS + 1)][1:]
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"{texts} texts of {length} tokens: bfloat16 is {ratio:.2f} times as fast as float32")


if __name__ == "__main__":
    main()
