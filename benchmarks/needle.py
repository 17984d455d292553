"""How many passages of 40 emotional tokens are found inside 8,000 neutral ones, at 1% false alarms per turn and concept.

Neutral turns are comments of GoEmotions (Demszky et al. 2020, arXiv:2005.00547; CC BY 4.0) with the label neutral alone, and
untagged notes of the demo graph; no text is in two turns. There are four kinds of needles, at a random place between two texts:

    note        the first 40 tokens of a held-out note of the demo graph
    whole note  such a note, up to 160 tokens
    comments    40 tokens of GoEmotions test comments with one label, the same for all; `more comments` are 160 tokens

Notes are read with the demo's readout, and comments with one of the first 6,000 rows of train.tsv, as in `goemotions.py`. Neither
has seen its needles, nor the turns. Half of the neutral turns gives the thresholds; the other half gives false alarms, and the
hay around the needles. Takes an hour on one core, and keeps 1.5 GB of activations.

    amygdala-tl demo --output-dir DEMO
    python benchmarks/needle.py --demo DEMO --data DIR

A needle and the 192 tokens behind it run behind the keys and values of the turn before it. What the turn has further on are its
activations without the needle.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from goemotions import TEST_ROWS, TRAIN_ROWS, read_rows
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import DynamicCache

from amygdala_tl import Readout, capture, fit, load_model, load_readout
from amygdala_tl.activations.pooling import SINK_RATIO
from amygdala_tl.activations.runner import tokenize_for
from amygdala_tl.corpus.io import read_corpus
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.residuals import read_streams
from amygdala_tl.readout.windows import WIDTHS, LargestWindows, exponential_means, largest_windows

TURN, NEEDLE, WHOLE, BEHIND, CHUNK = 8000, 40, 160, 192, 1000
"""Tokens of a turn, of a needle, of a whole note at most, of what runs anew behind it, and of one forward pass."""

LENGTHS, HALF_LIVES = (250, 500, 1000, 2000, 4000, 8000), (16, 32)

LAYERS = (6, 10, 14, 19, 23)
"""Those of `capture`, unless given."""

Needle = tuple[str, str, list[int]]
"""Kind, concept and tokens."""


def main() -> None:
    """Run the model, or read what it gave before, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, required=True, help="folder that `amygdala-tl demo` has written")
    parser.add_argument("--data", type=Path, required=True, help="folder of GoEmotions")
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--needles", type=int, default=6, help="needles of each kind in every second turn")
    parser.add_argument("--activations", type=Path, default=Path(".cache/needle"), help="where they are kept")
    parser.add_argument("--comments", type=Path, default=Path(".cache/needle-comments"), help="the same")
    options = parser.parse_args()
    console = Console(width=140)
    collect(options, console)
    trials = {
        "demo": Trials(load_readout(options.demo / "readout.safetensors"), ("note", "whole note"), options),
        "GoEmotions": Trials(of_comments(options), ("comments", "more comments"), options),
    }
    print_misses(console, trials)
    print_calibration(console, trials)


def collect(options: argparse.Namespace, console: Console) -> None:
    """Write the activations of every turn, and those around each needle."""
    missing = [turn for turn in range(options.turns) if not (options.activations / f"{turn}.npz").exists()]
    if not missing:
        return
    lens = load_model("embedded", "float32", "cpu", engine="TransformerBridge")
    corpus = read_corpus(options.demo / "corpus")
    settings = load_readout(options.demo / "readout.safetensors").provenance.capture
    example = tokenize_for(lens, ["A sentence."], settings)[0]
    before = list(example.ids[: example.first])
    turns = list(hay(lens, options.data, corpus, options.turns))
    kinds = [
        notes(lens, corpus, NEEDLE, "note"),
        notes(lens, corpus, WHOLE, "whole note"),
        comments(lens, options.data, NEEDLE, "comments"),
        comments(lens, options.data, WHOLE, "more comments"),
    ]
    options.activations.mkdir(parents=True, exist_ok=True)
    for turn in track(missing, "turns", console=console):
        rows = slice(turn // 2 * options.needles, (turn // 2 + 1) * options.needles)
        own = [needle for kind in kinds for needle in kind[rows]] if turn % 2 else []
        np.savez(options.activations / f"{turn}.npz", **run_turn(lens, before, turns[turn], own, turn))


def hay(lens: Lens, data: Path, corpus: Corpus, turns: int) -> Iterator[list[list[int]]]:
    """Yield the texts of every turn as token ids, at least `TURN` in all."""
    rows = [row for name in ("train", "dev", "test") for row in rows_of(data, name)[TRAIN_ROWS * (name == "train") :]]
    neutral = rows_of(data, "labels").index(["neutral"])
    some = iter(shuffled([text for text, labels, _ in rows if labels == str(neutral)], seed=0))
    untagged = ids_of(lens, [text.text for text in corpus.texts if text.neutral])
    for turn in range(turns):
        found = untagged[turn::turns]
        while sum(map(len, found)) < TURN:
            found += ids_of(lens, [next(some)])
        yield shuffled(found, seed=turn)


def rows_of(data: Path, name: str) -> list[list[str]]:
    path = data / ("labels.txt" if name == "labels" else f"{name}.tsv")
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def ids_of(lens: Lens, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text with a line break."""
    return [lens.tokenizer(text.strip() + "\n", add_special_tokens=False).input_ids for text in texts]


def shuffled(things: Sequence[Any], seed: int) -> list[Any]:
    return [things[place] for place in np.random.default_rng(seed).permutation(len(things))]


def notes(lens: Lens, corpus: Corpus, tokens: int, kind: str) -> list[Needle]:
    """Held-out notes, each once for every concept that it is a positive example of."""
    pairs = [(text, concept) for text in corpus.texts if text.split == "heldout" for concept in text.positive]
    found = zip(pairs, ids_of(lens, [text.text for text, _ in pairs]), strict=True)
    return shuffled([(kind, concept, ids[:tokens]) for (_, concept), ids in found], seed=1)


def comments(lens: Lens, data: Path, tokens: int, kind: str) -> list[Needle]:
    """Test comments of every label with at least 20 of its own, joined; no comment twice."""
    names, found = [name for (name,) in rows_of(data, "labels")], []
    for label, name in enumerate(names):
        own = [text for text, labels, _ in rows_of(data, "test")[:TEST_ROWS] if labels == str(label)]
        if len(own) < 20 or name == "neutral":
            continue
        joined: list[int] = []
        for ids in shuffled(ids_of(lens, own), seed=2):
            joined += ids
            if len(joined) >= tokens:
                found.append((kind, name, joined[:tokens]))
                joined = []
    return shuffled(found, seed=3)


@torch.no_grad()
def run_turn(
    lens: Lens, before: list[int], texts: Sequence[list[int]], needles: Sequence[Needle], seed: int
) -> dict[str, Any]:
    """Activations [token, layer, d_model] of a turn, and of each needle with what follows it."""
    ids = [token for text in texts for token in text][:TURN]
    cache = DynamicCache(config=lens.model.original_model.config)
    whole = passes(lens, cache, before + ids)[len(before) :]
    ends = np.cumsum([len(text) for text in texts])
    places = np.random.default_rng(seed).choice(ends[ends < TURN - BEHIND], len(needles))
    around = {}
    for each in np.argsort(-places):  # from the end, so that the cache is cut and never run anew
        place = int(places[each])
        cache.crop(len(before) + place)
        around[f"streams{each}"] = passes(lens, cache, needles[each][2] + ids[place : place + BEHIND])
    kinds, concepts = (np.array([needle[side] for needle in needles], dtype=str) for side in (0, 1))
    lengths = np.array([len(tokens) for *_, tokens in needles], dtype=int)
    return {"streams": whole, "places": places, "kinds": kinds, "concepts": concepts, "lengths": lengths, **around}


def passes(lens: Lens, cache: Any, ids: Sequence[int]) -> np.ndarray:
    """Activations of the tokens, behind those in the cache, float16."""
    options = {"past_key_values": cache, "use_cache": True, "return_type": None}
    found = []
    for start in range(0, len(ids), CHUNK):
        tokens = torch.tensor([list(ids[start : start + CHUNK])])
        found.append(read_streams(lens.model, LAYERS, {}, partial(lens.model, tokens, **options))[0].half().numpy())
    return np.concatenate(found)


def of_comments(options: argparse.Namespace) -> Readout:
    """A readout of GoEmotions, `joint`, which `auto` chooses there, from the first rows of train.tsv."""
    names = [name for (name,) in rows_of(options.data, "labels")]
    texts, positive = read_rows(options.data / "train.tsv", TRAIN_ROWS, len(names))
    kept = [column for column, name in enumerate(names) if name != "neutral" and positive[:, column].sum() >= 20]
    rows = {text: row for row, text in enumerate(texts)}
    labels = positive[list(rows.values())][:, kept]
    corpus = Corpus.from_texts(list(rows), labels, concepts=[names[column] for column in kept], heldout_fraction=0)
    store, _ = capture(corpus, load_model("embedded", "float32", "cpu"), options.comments, layers=LAYERS)
    return fit(corpus, store, aggregator="joint")


class Trials:
    """What each way to look at a turn gives: [turn, concept] of neutral turns, and a value for each needle of its concept."""

    def __init__(self, readout: Readout, kinds: Sequence[str], options: argparse.Namespace) -> None:
        self.readout, self.kinds = readout, kinds
        self.neutral: list[dict[str, np.ndarray]] = []
        self.needles: dict[str, list[dict[str, float]]] = {}
        self.lengths: dict[int, list[np.ndarray]] = {length: [] for length in LENGTHS}
        for turn in range(options.turns):
            with np.load(options.activations / f"{turn}.npz") as kept:
                self._add(dict(kept), odd=turn % 2 == 1)

    def _add(self, kept: dict[str, np.ndarray], *, odd: bool) -> None:
        whole = self._scores(kept["streams"])
        self.neutral.append(self._looked(*whole))
        for length, found in self.lengths.items() if odd else ():
            for start in range(0, TURN - length + 1, length):
                found.append(self._largest(*(side[start : start + length] for side in whole)).z)
        for number, (place, kind, concept, length) in enumerate(
            zip(kept["places"], kept["kinds"], kept["concepts"], kept["lengths"], strict=True)
        ):
            if kind not in self.kinds or concept not in self.readout.concepts:
                continue
            around = self._scores(kept[f"streams{number}"])
            behind = place + len(around[0]) - length
            parts = zip(whole, around, strict=True)
            turn, index = [np.concatenate((one[:place], new, one[behind:])) for one, new in parts], self._row(concept)
            window = self._largest(*turn)
            seen = {way: float(values[index]) for way, values in self._looked(*turn).items()}
            seen["on"] = float(window.start[index] < place + length and place < window.stop[index])
            own = around[0][:length][around[1][:length]]
            seen["own"] = float(self._z(own.mean(axis=0), tokens=len(own))[index])
            self.needles.setdefault(str(kind), []).append(seen)

    def _row(self, concept: str) -> int:
        return self.readout.concepts.index(str(concept))

    def _scores(self, streams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums over layers [token, concept], and which tokens are readable at all layers."""
        values = torch.from_numpy(streams).float()
        norms = values.norm(dim=-1)
        readable = (norms <= SINK_RATIO * norms.median(dim=0).values).all(dim=1)
        return self.readout.combined.scores(self.readout.scores(values)).numpy(), readable.numpy()

    def _z(self, totals: np.ndarray, *, tokens: Any) -> np.ndarray:
        many = torch.as_tensor(tokens)[:, None] if np.ndim(tokens) else tokens
        return self.readout.combined.z_of_sum(torch.from_numpy(totals), of="tokens", tokens=many).numpy()

    def _largest(self, scores: np.ndarray, readable: np.ndarray, widths: Sequence[int] = WIDTHS) -> LargestWindows:
        found = largest_windows(scores, self._z, widths=widths, readable=readable)
        assert found is not None
        return found

    def _looked(self, scores: np.ndarray, readable: np.ndarray) -> dict[str, np.ndarray]:
        """The value of each concept, for each way to look."""
        found = {"mean of the turn": self._z(scores[readable].mean(axis=0), tokens=int(readable.sum()))}
        for half_life in HALF_LIVES:
            means, counts = exponential_means(scores, half_life, readable=readable)
            found[f"exponential, half-life {half_life}"] = self._z(means[counts > 0], tokens=counts[counts > 0]).max(
                axis=0
            )
        for width in WIDTHS:
            found[f"window of {width}"] = self._largest(scores, readable, [width]).peak
        return found | {"all windows": self._largest(scores, readable).peak}


def print_misses(console: Console, trials: dict[str, Trials]) -> None:
    """Needles missed, with the thresholds of the even turns, and false alarms of the odd ones."""
    table = Table(title="% missed, with 1% and with 10% false alarms per turn and concept", title_justify="left")
    table.add_column("")
    for name, each in trials.items():
        for header in (f"false alarms, {name}", *(f"{kind}, {len(found)}" for kind, found in each.needles.items())):
            table.add_column(header, justify="right")
    for way in trials["demo"].neutral[0]:
        cells = []
        for each in trials.values():
            values = np.stack([turn[way] for turn in each.neutral])
            thresholds = np.quantile(values[::2], (0.99, 0.9), method="higher")
            cells.append(percent(values[1::2] > threshold for threshold in thresholds))
            for needles in each.needles.values():
                found = np.array([needle[way] for needle in needles])
                cells.append(percent(found <= threshold for threshold in thresholds))
        table.add_row(way, *cells)
    for what, key in (
        ("% whose turn's strongest window is on the needle", "on"),
        ("z of the needle's own tokens", "own"),
    ):
        cells = []
        for each in trials.values():
            shown = (
                (100 if key == "on" else 1) * np.mean([one[key] for one in found]) for found in each.needles.values()
            )
            cells += ["", *(f"{value:.1f}" for value in shown)]
        table.add_row(what, *cells)
    console.print(table)


def percent(shares: Iterable[Any]) -> str:
    return ", ".join(f"{100 * np.mean(share):.1f}" for share in shares)


def print_calibration(console: Console, trials: dict[str, Trials]) -> None:
    """How often the largest window of the odd turns' text has a high z, by its length."""
    table = Table(title="% of neutral texts whose largest window has z > 2, and > 3", title_justify="left")
    for header in ("tokens", *trials):
        table.add_column(header, justify="right")
    for length in LENGTHS:
        found = [np.stack(each.lengths[length]) for each in trials.values()]
        table.add_row(str(length), *(percent((z > 2, z > 3)) for z in found))
    console.print(table)
    for name, each in trials.items():
        z = np.stack([turn["mean of the turn"] for turn in each.neutral])
        console.print(f"{name}: {percent([np.abs(z) > 2])}% of the means of turns have |z| > 2")


if __name__ == "__main__":
    main()
