"""How long the diagnostics take beside scikit-learn, and whether their intervals cover what they say.

    python benchmarks/diagnostics.py                 # AUROC of every readout on every label: seconds beside scikit-learn's
    python benchmarks/diagnostics.py --coverage      # share of simulated corpora whose 95% interval holds the true AUROC

scikit-learn computes a sample of the problems and its time is scaled; both sides get the same number of threads.
"""

import argparse
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from amygdala_tl.diagnostics.auroc_matrix import auroc_matrix


def speed(arguments: argparse.Namespace) -> Table:
    """Time of the AUROC of every readout on every label, without and with ties."""
    generator = torch.Generator().manual_seed(0)
    texts, concepts, layers = arguments.texts, arguments.concepts, arguments.layers
    label = torch.randint(-1, 2, (texts, concepts), generator=generator)
    positive, negative = label == 1, label == -1
    scores = torch.randn(layers, texts, concepts, generator=generator)
    size = f"{concepts} x {concepts} x {texts} texts x {layers} layers, {arguments.threads} threads"
    table = Table(title=f"AUROC of readout i on label j: {size}")
    for column in ("scores", "amygdala-tl, s", "scikit-learn, s (scaled)", "times faster", "largest difference"):
        table.add_column(column)
    pairs = [divmod(int(pair), concepts) for pair in np.linspace(0, concepts**2 - 1, arguments.sample)]
    for name, values in (("all different", scores), ("rounded to 0.01 (ties)", scores.mul(100).round().div(100))):
        started = time.perf_counter()
        found = [auroc_matrix(layer, positive, negative) for layer in values]
        ours = time.perf_counter() - started
        started = time.perf_counter()
        expected = []
        for i, j in pairs:
            known = (positive[:, j] | negative[:, j]).numpy()
            expected.append(roc_auc_score(positive[:, j].numpy()[known], values[0, :, i].numpy()[known]))
        theirs = (time.perf_counter() - started) / len(pairs) * concepts**2 * layers
        worst = max(abs(float(found[0][i, j]) - value) for (i, j), value in zip(pairs, expected, strict=True))
        table.add_row(name, f"{ours:.1f}", f"{theirs:.0f}", f"{theirs / ours:.0f}", f"{worst:.1e}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=200)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--sample", type=int, default=100, help="how many AUROCs scikit-learn computes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="for both sides")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        Console(width=150).print(speed(arguments))


if __name__ == "__main__":
    main()
