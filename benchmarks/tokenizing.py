"""The share of a capture's CPU time that tokenizing its texts takes. Both run in one process, in turn.

python benchmarks/tokenizing.py --data DIR
"""

import argparse
import statistics
import time
from pathlib import Path

from amygdala_tl import load_model
from amygdala_tl.activations.runner import run_batches, tokenize_for
from amygdala_tl.records import CaptureSettings

LAYERS = (9, 18, 20)


def main() -> None:
    """Capture the first rows of GoEmotions with the embedded model, and print the median share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv")
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    lines = (options.data / "train.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t")[0] for line in lines[: options.texts]]
    lens = load_model("embedded", device="cpu")
    for template in ("none", "user"):
        said, shares, rates = CaptureSettings(chat_template=template), [], []
        for _ in range(options.runs):
            start = time.process_time()
            texts = tokenize_for(lens, rows, said)
            tokenized = time.process_time()
            rates.append(len(texts) / (tokenized - start))
            for _batch in run_batches(lens, texts, LAYERS):
                pass
            shares.append((tokenized - start) / (time.process_time() - start))
        print(f"chat template {template}: {statistics.median(shares):.2%}, {statistics.median(rates):,.0f} texts/s")


if __name__ == "__main__":
    main()
