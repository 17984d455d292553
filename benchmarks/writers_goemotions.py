"""Which vectors steer best on other texts than the demo's: `writers.py` with a few texts of each of GoEmotions' labels.

    python benchmarks/writers_goemotions.py --data DIR

About as many texts a concept as the demo has: 30 of each label that 100 of the first 12,000 rows of train.tsv have, drawn with
the seed. All other texts are a concept's negatives. The write vectors of `train` take the power that is best here.
"""

import argparse
from pathlib import Path

import torch
from goemotions import captured, labelled, read_rows
from rich.console import Console
from writers import HEADINGS, POWERS, row, writers

from amygdala_tl import load_model
from amygdala_tl.records import CaptureSettings
from amygdala_tl.report.grid import grid

ROWS, COMMON, TEXTS, SHUFFLES = 12_000, 100, 30, 10


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv and labels.txt")
    parser.add_argument("--layer", type=int, default=14)
    parser.add_argument("--dose", type=float, default=0.2)
    parser.add_argument("--seeds", default="0,1", help="of the texts")
    parser.add_argument("--activations", type=Path, default=Path(".cache/goemotions"), help="where they are kept")
    options = parser.parse_args()
    console = Console(width=120)
    names = (options.data / "labels.txt").read_text(encoding="utf-8").split()
    texts, labels = read_rows(options.data / "train.tsv", ROWS, len(names))
    kept = (labels.sum(dim=0) >= COMMON) & torch.tensor([name != "neutral" for name in names])
    concepts = [name for name, keep in zip(names, kept.tolist(), strict=True) if keep]
    lens = load_model()
    for seed in map(int, options.seeds.split(",")):
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(seed))
        drawn = sorted({row for label in labels[order].T[kept] for row in order[label][:TEXTS].tolist()})
        some = [texts[row] for row in drawn]
        store = captured(some, [options.layer], options.activations, CaptureSettings(chat_template="user"), console)
        data = labelled(store, (some, labels[drawn]), [options.layer], kept)
        table = grid(
            ["layer", "direction"], HEADINGS, title=f"{len(concepts)} concepts, {len(some)} texts, seed {seed}"
        )
        for power in POWERS:
            directions = writers(data, power, SHUFFLES)
            table.add_row(*row(lens, options.layer, options.dose, None, f"S^-{power:g} d", directions, concepts))
        console.print(table)


if __name__ == "__main__":
    main()
