"""What `train --target-layers auto` gains by seeing every text when it chooses layers.

Verdicts of such a readout judge layers that the judged texts have helped to choose. Here the layers of a text are chosen on the
other folds' texts alone, and the score over them is compared.

    amygdala-tl demo --output-dir DEMO
    amygdala-tl capture --training-data-dir DEMO/corpus --activations-dir STORE \
        --target-layers 0.25,0.35,0.45,0.55,0.65,0.75,0.85,0.95
    python benchmarks/layers.py --corpus DEMO/corpus --activations STORE
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from amygdala_tl import fit
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.labelled import judged_texts, neutral_activations
from amygdala_tl.corpus.io import read_corpus
from amygdala_tl.diagnostics.diagnose import Diagnoser
from amygdala_tl.diagnostics.separation import best_layers, layer_separation
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.settings import LAYERS


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels and groups of some texts; fulfils `directions.data.LabelledTexts`."""

    positive: Tensor
    negative: Tensor
    groups: Tensor


def main() -> None:
    """Compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--activations", type=Path, required=True, help="store with the layers to choose from")
    parser.add_argument("--aggregator", default="joint")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5, help="divisions into folds")
    options = parser.parse_args()
    console = Console(width=120)
    corpus, store = read_corpus(options.corpus), ActivationStore.find(options.activations)
    readout = fit(corpus, store, layers=LAYERS.candidates, aggregator=options.aggregator)
    texts = judged_texts(readout, corpus, store, "train", by_domain=True)
    diagnoser = Diagnoser(readout, texts, neutral_activations(readout, corpus, store), halves=False)
    scores, data = diagnoser.cross_fit.scores, texts.data

    def chosen(kept: Tensor) -> list[int]:
        known = Labels(data.positive[kept], data.negative[kept], data.groups[kept])
        found = layer_separation(scores[:, kept], known, readout.concepts, readout.layers, "training folds")
        return [readout.layers.index(layer) for layer in best_layers(found, LAYERS.slots)]

    def mean(total: Tensor) -> float:
        return float(auroc(total, data.positive, data.negative).nanmean())

    of_all = chosen(torch.ones(len(data.groups), dtype=torch.bool))
    names = ", ".join(str(readout.layers[place]) for place in of_all)
    console.print(f"layers {names}, chosen on all texts: mean AUROC {mean(scores[of_all].sum(dim=0)):.4f}")
    for seed in range(options.seeds):
        fold = group_folds(data.groups, options.folds, seed)
        total = torch.zeros_like(scores[0])
        for number in range(options.folds):
            total[fold == number] = scores[chosen(fold != number)][:, fold == number].sum(dim=0)
        console.print(f"chosen without the fold's texts: mean AUROC {mean(total):.4f}")


if __name__ == "__main__":
    main()
