"""What is left of a concept at later layers when it is erased at one layer, at several, and at all from there on.

    python benchmarks/erasing_layers.py --data demo-out --layer 14 --concepts anxiety,calm,grief

`--data` is a folder of `demo`: corpus and readout. The shortest labelled texts run through the embedded model. Erasures are
fitted on one half of their groups, at every layer from `--layer` on, on streams in which nothing is erased. The texts of each
concept then run with it erased, and probes (whitened difference of means) are fitted anew at every layer, as `steer` does:

    across    the probe is fitted on the half of the erasure and read on the other
    unseen    the probe is fitted and read within the other half

The loss and the divergence are those of the erasures of the first half, on the plain texts of `steer`, in nats a token.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from amygdala_tl.api.inputs import corpus_of
from amygdala_tl.api.models import lens_of
from amygdala_tl.api.probe_runs import runs_of
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.readout.dose import plain_tokens
from amygdala_tl.readout.record import load_readout
from amygdala_tl.steering.bench import Bench
from amygdala_tl.steering.edits import NOT_FIRST, Edit, Erase
from amygdala_tl.steering.erasing import erasure_arms, fit_erasers
from amygdala_tl.steering.probing import choose_texts, read_across, read_unseen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("demo-out"))
    parser.add_argument("--layer", type=int, default=14)
    parser.add_argument("--concepts", default="anxiety,calm,grief")
    parser.add_argument("--texts", type=int, default=300, help="of the corpus, the shortest")
    parser.add_argument("--probe-texts", type=int, default=32, help="of each class and concept")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    readout, concepts = load_readout(arguments.data / "readout.safetensors"), arguments.concepts.split(",")
    lens, said = lens_of(readout), readout.provenance
    bottom, layers = arguments.layer, list(range(arguments.layer, lens.info.n_layers))
    labelled = [text for text in corpus_of(readout, arguments.data / "corpus").texts if not text.neutral]
    texts = sorted(labelled, key=lambda text: len(text.text))[: arguments.texts]
    ids = [text.id for text in texts]
    positive, negative = (
        torch.tensor([[name in getattr(text, side) for name in concepts] for text in texts])
        for side in ("positive", "negative")
    )
    names = sorted({text.group for text in texts})
    groups = torch.tensor([names.index(text.group) for text in texts])
    half = group_folds(groups, 2)
    run = runs_of(lens, {text.id: text.text for text in texts}, said.read_position, said.capture)
    plain = run(ids, {}, layers)
    data = LabelledActivations(plain, positive, negative, groups)
    columns = range(len(concepts))
    erasers = [fit_erasers(data.take(half == number), columns, layers, 0, 0) for number in (0, 1)]
    labels = choose_texts(positive, negative, half, ids, arguments.probe_texts // 2)
    captured = [layer for layer in readout.layers if layer >= bottom]
    places = {"nowhere": [], f"{bottom}": [bottom], f"{bottom} on": layers, ", ".join(map(str, captured)): captured}
    bench = Bench(lens, bottom, plain_tokens(lens.tokenizer))

    def edits(place: list[int], concept: int, number: int) -> dict[int, list[Edit]]:
        maps = {layer: erasure_arms(erasers[number][layer], concept, "leace").rows(slice(0, 1)) for layer in place}
        return {layer: [Erase(each, where=NOT_FIRST)] for layer, each in maps.items()}

    def read(place: list[int], concept: int) -> tuple[Tensor, Tensor]:
        rows = (labels[0] | labels[1])[:, concept].nonzero()[:, 0]
        some = [ids[row] for row in rows.tolist()]
        values = [run(some, edits(place, concept, number), layers) if place else plain[rows] for number in (0, 1)]
        marks = [each[rows][:, [concept]] for each in labels]
        return read_across(values, *marks, half[rows])[0], read_unseen(values, *marks, groups[rows], half[rows])[0]

    shown = [layer for layer in (0, 1, 2, 4, 6, 9, 12, 15) if layer < len(layers)]
    table = Table(title=f"{', '.join(concepts)} erased by leace: mean AUROC of new probes over concepts")
    for column in ("erased at layers", "probe", *(str(layers[at]) for at in shown), "loss", "KL"):
        table.add_column(column, justify="right")
    for name, place in places.items():
        found = [torch.stack(each) for each in zip(*(read(place, concept) for concept in columns), strict=True)]
        harm = [
            bench.damage(1, lambda _, place=place, concept=concept: edits(place, concept, 0)) for concept in columns
        ]
        cost = [f"{torch.cat([getattr(each, of) for each in harm]).mean():.3f}" for of in ("loss", "kl")]
        for kind, values in zip(("across", "unseen"), found, strict=True):
            cells = [f"{values[:, at].nanmean():.2f}" for at in shown]
            table.add_row(name, kind, *cells, *(cost if kind == "across" else ("", "")))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
