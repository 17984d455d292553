"""Which vectors steer best: powers of the activations' covariance between the difference of means and the whitened one.

    python benchmarks/writers.py demo-out                # the demo's results, layers 10, 14 and 19, dose .2

With the covariance S of the training texts' activations (a tenth shrunk to its diagonal) and d the difference of means, S^-a d is
added at one layer after open prompts, as `steer` does. `t` is a concept's effect on its own words in deviations of shuffled-label
directions of the same power, and p that of one test a concept. `loss` is what plain texts lose.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from amygdala_tl import load_model, load_readout
from amygdala_tl.api.inputs import corpus_of, store_of
from amygdala_tl.api.labelled import judged_texts
from amygdala_tl.diagnostics.nulls import permuted_texts
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.statistics import gather
from amygdala_tl.directions.whitening import shrink
from amygdala_tl.lens.decoder import decoder_of
from amygdala_tl.lens.model import Lens
from amygdala_tl.report.grid import grid
from amygdala_tl.steering.bench import Bench
from amygdala_tl.steering.edits import NOT_FIRST, Add
from amygdala_tl.steering.norms import mean_norms
from amygdala_tl.steering.prompts import open_prompts, plain_tokens
from amygdala_tl.steering.significance import holm_over_cells, pooled_p_values
from amygdala_tl.steering.words import concept_words

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
SHRINKAGE = 0.1
SHUFFLES = 3


def differences(data: LabelledActivations) -> Tensor:
    """Difference of means of every concept at the only layer, [concept, d_model]."""
    return gather([data], second_moments=False).difference[:, 0].double()


def row(lens: Lens, layer: int, dose: float, data: LabelledActivations, power: float, concepts: list[str]) -> list[str]:
    """What one power does at one layer."""
    covariance = gather([data], second_moments=True).covariance
    assert covariance is not None
    values, axes = torch.linalg.eigh(shrink(covariance[0].double(), SHRINKAGE))
    change = axes @ torch.diag(values.clamp_min(1e-9) ** -power) @ axes.T
    sources = permuted_texts(data.groups, torch.Generator().manual_seed(0), SHUFFLES).long()
    shuffled = [
        LabelledActivations(data.activations, data.positive[source], data.negative[source], data.groups)
        for source in sources
    ]
    vectors = torch.cat([differences(each) for each in (data, *shuffled)]) @ change
    directions = (vectors / vectors.norm(dim=-1, keepdim=True)).float()
    amount, many = dose * mean_norms(decoder_of(lens), [layer])[layer], len(concepts)

    def edits(rows: slice) -> dict[int, list[Add]]:
        return {layer: [Add(directions[rows], amount=amount, where=NOT_FIRST)]}

    words = concept_words(lens.tokenizer, concepts)
    effects = Bench(lens, layer, open_prompts(lens.tokenizer)).word_shift(words, len(directions), edits)[0].mean(dim=1)
    loss = Bench(lens, layer, plain_tokens(lens.tokenizer)).damage(many, edits).loss
    own, null = effects[:many].diagonal(), effects[many:].T
    t, p = pooled_p_values(own[:, None], null[:, None])
    steer = int((holm_over_cells(p) <= 0.05).sum())
    return [
        str(layer), f"{power:g}", f"{own.mean():.3f}", f"{null.std(dim=1).mean():.3f}", f"{t.mean():.2f}",
        str(int((t > 3).sum())), str(steer), f"{loss.mean():.3f}",
    ]  # fmt: skip


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of `amygdala-tl demo`")
    parser.add_argument("--layers", default="10,14,19")
    parser.add_argument("--dose", type=float, default=0.2)
    arguments = parser.parse_args()
    readout = load_readout(arguments.results / "readout.safetensors")
    corpus = corpus_of(readout, arguments.results / "corpus")
    store = store_of(readout, arguments.results / "activations")
    lens = load_model()
    headings = ["power", "mean effect, nats", "deviation of shuffled", "mean t", "t > 3", "steer", "loss, nats a token"]
    table = grid(["layer"], headings, title=f"{len(readout.concepts)} concepts, dose {arguments.dose:g}")
    for layer in map(int, arguments.layers.split(",")):
        data = judged_texts(readout, corpus, store, "train", layers=(layer,)).data.whole()
        for power in POWERS:
            table.add_row(*row(lens, layer, arguments.dose, data, power, list(readout.concepts)))
    Console().print(table)


if __name__ == "__main__":
    main()
