"""How many texts have |z| > 2, by their number of tokens: 5% at every length is one scale.

GoEmotions with the embedded model, as in `goemotions.py`: directions and calibrations come from the first rows of train.tsv,
figures from test.tsv. Passages are consecutive test texts behind those that are read alone, joined by spaces.

    python benchmarks/lengths.py --data DIR
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from einops import rearrange
from goemotions import TEST_ROWS, TRAIN_ROWS, captured, labelled, read_rows, text_id
from rich.console import Console
from rich.table import Table
from torch import Tensor

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.directions.method import apply_method, parse_method
from amygdala_tl.readout.calibration import calibrate_texts, calibrate_tokens
from amygdala_tl.readout.lengths import calibrate_lengths
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import CaptureSettings

ALL_ROWS, EDGES = 5427, (1, 4, 7, 11, 16, 24, 60)
JOINED = ((4, 1000), (16, ALL_ROWS - TEST_ROWS - 1000))
"""Texts a passage, and rows of passages of that length."""


def main() -> None:
    """Capture, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv, test.tsv and labels.txt")
    parser.add_argument("--layers", default="14,18")
    parser.add_argument("--aggregator", default="whitened")
    parser.add_argument("--train-rows", type=int, default=TRAIN_ROWS)
    parser.add_argument("--activations", type=Path, default=Path(".cache/goemotions"), help="where they are kept")
    options = parser.parse_args()
    console = Console(width=140)
    layers = [int(layer) for layer in options.layers.split(",")]
    names = (options.data / "labels.txt").read_text(encoding="utf-8").split()
    train = read_rows(options.data / "train.tsv", options.train_rows, len(names))
    test = read_rows(options.data / "test.tsv", ALL_ROWS, len(names))[0]
    passages = joined(test[TEST_ROWS:])
    everything = [*train[0], *test[:TEST_ROWS], *(text for some in passages for text in some)]
    store = captured(everything, layers, options.activations, CaptureSettings(chat_template="user"), console)
    kept = train[1].sum(dim=0) >= 20
    kept[names.index("neutral")] = False
    concepts = [name for name, keep in zip(names, kept.tolist(), strict=True) if keep]
    method = parse_method(options.aggregator, "")
    vectors = apply_method(method, labelled(store, train, layers, kept), None, concepts).directions
    readout = calibrated(store, train[0], layers, concepts, rearrange(vectors, "concept layer d -> layer concept d"))
    print_table(console, readout, store, test[:TEST_ROWS], passages)


def joined(texts: Sequence[str]) -> list[list[str]]:
    """Passages of consecutive texts, of each length that `JOINED` names."""
    passages, start = [], 0
    for size, rows in JOINED:
        places = range(start, start + rows - size + 1, size)
        passages.append([" ".join(texts[place : place + size]) for place in places])
        start += rows
    return passages


def calibrated(
    store: ActivationStore, texts: Sequence[str], layers: Sequence[int], concepts: Sequence[str], vectors: Tensor
) -> Readout:
    """The readout of these directions, calibrated on some texts."""
    ids = list(dict.fromkeys(map(text_id, texts)))
    streams, counts = store.load(ids, layers, "pooled"), store.load_counts(ids, layers)
    tokens = calibrate_tokens(store.tokens(ids, layers), vectors)
    lengths = calibrate_lengths([(counts, streams)], vectors, tokens)
    of_texts = calibrate_texts([streams], vectors)
    return Readout(tuple(concepts), tuple(layers), vectors, of_texts, tokens, length_calibration=lengths)


def print_table(
    console: Console, readout: Readout, store: ActivationStore, alone: Sequence[str], passages: Sequence[Sequence[str]]
) -> None:
    """Shares beyond 2 by length, over all concepts, with one deviation for all texts and with one for each length."""
    table = Table(title=f"% of {len(readout.concepts)} concepts' scores with |z| > 2", title_justify="left")
    for header in (
        "tokens",
        "texts",
        *(f"layer {of}, {how}" for of in readout.layers for how in ("one deviation", "by length")),
    ):
        table.add_column(header, justify="right")
    parts = list(store.tokens([text_id(text) for text in alone], readout.layers))
    shares = []
    for column in range(len(readout.layers)):
        tokens = torch.cat([part.tokens for part in parts if part.column == column])
        streams = rearrange(tokens, "token d -> token 1 d").expand(-1, len(readout.layers), -1)
        shares += ["", beyond(readout.z(streams)[:, column])]
    table.add_row("1, in a text", str(len(tokens)), *shares)
    for some in (alone, *passages):
        ids = list(dict.fromkeys(map(text_id, some)))
        streams, counts = store.load(ids, readout.layers, "pooled"), store.load_counts(ids, readout.layers)
        z = [readout.z(streams, of="texts"), readout.z(streams, of="texts", tokens=counts)]
        n = counts[:, 0]
        edges = EDGES if some is alone else (int(n.min()), int(n.max()) + 1)
        for low, high in pairwise(edges):
            rows = (n >= low) & (n < high)
            cells = [beyond(of[rows, column]) for column in range(len(readout.layers)) for of in z]
            table.add_row(f"{low}-{high - 1}", str(int(rows.sum())), *cells)
    console.print(table)
    lengths = readout.length_calibration
    for layer, reach, floor in zip(
        readout.layers, lengths.reach[:, 0].tolist(), lengths.floor.mean(dim=1).tolist(), strict=True
    ):
        console.print(
            f"layer {layer}: reach {reach:.1f} tokens, floor {floor:.3f} of a token's variance (mean over concepts)"
        )


def beyond(z: Tensor) -> str:
    """Share of all values with |z| > 2, in percent."""
    return f"{100 * (z.abs() > 2).float().mean():.1f}"


if __name__ == "__main__":
    main()
