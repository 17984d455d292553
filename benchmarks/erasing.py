"""What is left of a concept after each way of taking it out: refitted probes on stored activations, and the loss of plain texts.

    python benchmarks/erasing.py --data demo-out --layer 14

`--data` is a folder of `demo`: corpus, activations and readout. A direction or an erasure is fitted on some groups; a probe
(whitened difference of means) is fitted anew on edited texts, and read on edited texts of other groups:

    across    five folds: both are fitted on the same four, the fifth is read
    unseen    two halves: the erasure is fitted on one, the probe is cross-fitted over five folds of the other

Both are means over `--splits` ways to divide the groups: what a probe finds after an erasure is mostly chance.
The loss is that of the erasure of all texts, on the plain texts of `steer`, in nats a token.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from torch import Tensor

from amygdala_tl.api.inputs import corpus_of, store_of
from amygdala_tl.api.labelled import StoredTexts
from amygdala_tl.api.models import lens_of
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.erasure import Erasure
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.whitening import whitened
from amygdala_tl.readout.dose import plain_tokens
from amygdala_tl.readout.record import Readout, load_readout
from amygdala_tl.steering.bench import Bench
from amygdala_tl.steering.edits import NOT_FIRST, Edit, Erase
from amygdala_tl.steering.erasing import erasure_arms, fit_erasers, projection_arms
from amygdala_tl.steering.settings import ERASE_METHODS, EraseMethod

SHRINKAGE, FOLDS = 0.5, 5
METHODS: tuple[EraseMethod | None, ...] = (None, *ERASE_METHODS)


def maps_of(data: LabelledActivations, method: EraseMethod | None) -> list[Erasure | None]:
    """One map a concept, fitted on these texts of one layer; None for no edit."""
    n = data.positive.shape[1]
    if method is None:
        return [None] * n
    if method == "project":
        vectors = whitened(data, shrinkage=SHRINKAGE).vectors[:, 0]
        arms = [projection_arms(v[None] / v.norm()) for v in vectors]
    else:
        eraser = fit_erasers(data, range(n), [0], 0, 0)[0]
        arms = [erasure_arms(eraser, concept, method) for concept in range(n)]
    return [Erasure(each.read[0], each.write[0], each.mean) for each in arms]


def edited(data: LabelledActivations, concept: int, erasure: Erasure | None) -> LabelledActivations:
    """The texts with the labels of one concept, after its map."""
    chosen = torch.arange(data.positive.shape[1]) == concept
    values = data.activations if erasure is None else erasure(data.activations)
    return replace(data.of_concepts(chosen), activations=values)


def across(
    data: LabelledActivations, method: EraseMethod | None, seed: int
) -> tuple[Float[Tensor, " concept"], Tensor]:
    """AUROC of every concept, mean over folds, and how far activations move, as a share of their variance."""
    fold, found, moved, spread = group_folds(data.groups, FOLDS, seed), [], 0.0, 0.0
    for number in range(FOLDS):
        fit, read = data.take(fold != number), data.take(fold == number)
        row = []
        for concept, erasure in enumerate(maps_of(fit, method)):
            after = edited(read, concept, erasure)
            row.append(read_by(edited(fit, concept, erasure), after))
            moved += float((after.activations - read.activations).square().sum())
            spread += float((read.activations - fit.activations.mean(dim=0)).square().sum())
        found.append(torch.stack(row))
    return torch.stack(found).nanmean(dim=0), torch.tensor(moved / spread)


def unseen(data: LabelledActivations, method: EraseMethod | None, seed: int) -> Float[Tensor, " concept"]:
    """AUROC of every concept, mean over both halves."""
    half, found = group_folds(data.groups, 2, seed), []
    for number in (0, 1):
        rest = data.take(half != number)
        fold = group_folds(rest.groups, FOLDS)
        row = []
        for concept, erasure in enumerate(maps_of(data.take(half == number), method)):
            own = edited(rest, concept, erasure)
            row.append(torch.stack([read_by(own.take(fold != k), own.take(fold == k)) for k in range(FOLDS)]).nanmean())
        found.append(torch.stack(row))
    return torch.stack(found).nanmean(dim=0)


def read_by(fit: LabelledActivations, read: LabelledActivations) -> Tensor:
    """AUROC of a probe fitted on some texts of one concept and read on others; NaN where either lacks a class."""
    return auroc(read.scores(whitened(fit, shrinkage=SHRINKAGE).vectors)[0], read.positive, read.negative)[0]


def loss(readout: Readout, data: LabelledActivations, layer: int, method: EraseMethod) -> Float[Tensor, " concept"]:
    """What plain texts lose when each concept is taken out of the running model, nats a token."""
    lens = lens_of(readout)
    maps = [each for each in maps_of(data, method) if each is not None]
    rows = Erasure(torch.stack([each.read for each in maps]), torch.stack([each.write for each in maps]), maps[0].mean)

    def edits(some: slice) -> dict[int, list[Edit]]:
        return {layer: [Erase(rows.rows(some), where=NOT_FIRST)]}

    return Bench(lens, layer, plain_tokens(lens.tokenizer)).damage(len(maps), edits).loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("demo-out"))
    parser.add_argument("--layer", type=int, default=14)
    parser.add_argument("--splits", type=int, default=10)
    arguments = parser.parse_args()
    readout = load_readout(arguments.data / "readout.safetensors")
    corpus = corpus_of(readout, arguments.data / "corpus")
    store = store_of(readout, arguments.data / "activations")
    texts = [text for text in corpus.texts if not text.neutral]
    position = readout.provenance.read_position
    data = StoredTexts(texts, readout.concepts, store, [arguments.layer], position, graded=False).whole()
    table = Table(title=f"{len(readout.concepts)} concepts at layer {arguments.layer}: mean (largest) AUROC")
    for column in (
        "taken out by",
        "across",
        "above .55",
        "unseen",
        "above .55",
        "activations move",
        "loss, mean (largest)",
    ):
        table.add_column(column, justify="right")
    for method in METHODS:
        seen = [across(data, method, seed) for seed in range(arguments.splits)]
        other = torch.stack([unseen(data, method, seed) for seed in range(arguments.splits)]).nanmean(dim=0)
        one, moved = (torch.stack(each).nanmean(dim=0) for each in zip(*seen, strict=True))
        lost = torch.zeros(1) if method is None else loss(readout, data, arguments.layer, method)
        cells = [f"{one.nanmean():.3f} ({one.max():.3f})", f"{int((one > 0.55).sum())}"]
        cells += [f"{other.nanmean():.3f} ({other.max():.3f})", f"{int((other > 0.55).sum())}", f"{moved:.3f}"]
        table.add_row(method or "nothing", *cells, f"{lost.mean():+.4f} ({lost.max():+.4f})")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
