"""How many passages of 40 emotional tokens are found inside 8,000 neutral ones, at 1% false alarms per turn and concept.

Neutral turns are comments of GoEmotions (Demszky et al. 2020, arXiv:2005.00547; CC BY 4.0) with the label neutral alone, and
untagged notes of the demo graph; no text is in two turns. Needles are the beginnings of held-out notes of the demo graph, at a
random place between two comments. The readout is the demo's, which has not seen their groups. Half of the neutral turns gives
the thresholds; the other half gives false alarms, and the hay around the needles.

    amygdala-tl demo --output-dir DEMO
    python benchmarks/needle.py --demo DEMO --data DIR

A needle's own tokens and the 192 behind it run behind the keys and values of the turn before it. The turn's scores behind these
are those that it has without the needle.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from transformers import DynamicCache

from amygdala_tl import Readout, load_model, load_readout
from amygdala_tl.activations.runner import tokenize_for
from amygdala_tl.corpus.io import read_corpus
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.residuals import read_streams

TURN, NEEDLE, BEHIND, CHUNK = 8000, 40, 192, 1000
"""Tokens of a turn, of a needle, of what runs anew behind it, and of one forward pass."""

NEUTRAL = 27
"""Number of the label neutral."""


def main() -> None:
    """Run the model, or read what it gave before, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, required=True, help="folder that `amygdala-tl demo` has written")
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv, dev.tsv and test.tsv")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--needles", type=int, default=12, help="needles in each turn of the second half")
    parser.add_argument("--scores", type=Path, default=Path(".cache/needle"), help="where scores are kept")
    options = parser.parse_args()
    readout, corpus = load_readout(options.demo / "readout.safetensors"), read_corpus(options.demo / "corpus")
    collect(options, readout, corpus, Console(width=140))


def collect(options: argparse.Namespace, readout: Readout, corpus: Corpus, console: Console) -> None:
    """Write the scores of every turn, and those around each needle."""
    missing = [turn for turn in range(options.turns) if not (options.scores / f"{turn}.npz").exists()]
    if not missing:
        return
    lens = load_model("embedded", "float32", "cpu", engine="TransformerBridge")
    hay, needles = Hay(lens, options.data, corpus), needles_of(lens, corpus, readout)
    options.scores.mkdir(parents=True, exist_ok=True)
    for turn in track(missing, "turns", console=console):
        own = needles[turn // 2 * options.needles :][: options.needles] if turn % 2 else []
        np.savez(options.scores / f"{turn}.npz", **scored(lens, readout, hay.turn(turn, options.turns), own, turn))


class Hay:
    """Neutral texts as token ids, each with its line break."""

    def __init__(self, lens: Lens, data: Path, corpus: Corpus) -> None:
        rows = [line.split("\t") for name in ("train", "dev", "test") for line in lines(data / f"{name}.tsv")]
        comments = [text for text, labels, _ in rows if labels == str(NEUTRAL)]
        order = np.random.default_rng(0).permutation(len(comments))
        self.comments = list(ids_of(lens, [comments[place] for place in order]))
        self.notes = list(ids_of(lens, [text.text for text in corpus.texts if text.neutral]))

    def turn(self, number: int, turns: int) -> list[list[int]]:
        """Texts of one turn, with at least `TURN` tokens; those of two turns differ."""
        found, tokens = self.notes[number::turns], 0
        for text in self.comments[number::turns]:
            found.append(text)
            tokens = sum(map(len, found))
            if tokens >= TURN:
                break
        assert tokens >= TURN, "too few texts for so many turns"
        return [found[place] for place in np.random.default_rng(number).permutation(len(found))]


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def ids_of(lens: Lens, texts: Sequence[str]) -> Iterator[list[int]]:
    for text in texts:
        yield lens.tokenizer(text.strip() + "\n", add_special_tokens=False).input_ids


def needles_of(lens: Lens, corpus: Corpus, readout: Readout) -> list[tuple[int, list[int]]]:
    """The first tokens of held-out notes, each once for every concept that it is a positive example of, in a random order."""
    pairs = [
        (readout.concepts.index(concept), text.text)
        for text in corpus.texts
        if text.split == "heldout"
        for concept in text.positive
        if concept in readout.concepts
    ]
    found = [(concept, next(ids_of(lens, [text]))[:NEEDLE]) for concept, text in pairs]
    return [found[place] for place in np.random.default_rng(1).permutation(len(found))]


@torch.no_grad()
def scored(
    lens: Lens, readout: Readout, texts: Sequence[list[int]], needles: Sequence[tuple[int, list[int]]], seed: int
) -> dict[str, Any]:
    """Scores [token, layer, concept] and norms [token, layer] of a turn, and of each needle with what follows it."""
    example = tokenize_for(lens, ["A sentence."], readout.provenance.capture)[0]
    before = list(example.ids[: example.first])
    ids = [token for text in texts for token in text][:TURN]
    cache = DynamicCache(config=lens.model.original_model.config)
    run = partial(passes, lens, readout, cache)
    whole = [part[len(before) :] for part in run(before + ids)]
    ends = np.cumsum([len(text) for text in texts])
    places = np.random.default_rng(seed).choice(ends[ends < TURN - BEHIND], len(needles))
    around: list[tuple[np.ndarray, np.ndarray]] = [()] * len(needles)  # type: ignore[list-item]
    for each in np.argsort(-places):  # from the end, so that the cache is cut and never run anew
        place = int(places[each])
        cache.crop(len(before) + place)
        around[each] = tuple(run(needles[each][1] + ids[place : place + BEHIND]))
    return {
        "scores": whole[0], "norms": whole[1], "places": places,
        "concepts": np.array([concept for concept, _ in needles], dtype=int),
        "lengths": np.array([len(tokens) for _, tokens in needles], dtype=int),
        **{f"scores{number}": pair[0] for number, pair in enumerate(around)},
        **{f"norms{number}": pair[1] for number, pair in enumerate(around)},
    }  # fmt: skip


def passes(lens: Lens, readout: Readout, cache: Any, ids: Sequence[int]) -> list[np.ndarray]:
    """Scores and norms of the tokens, behind those in the cache."""
    options = {"past_key_values": cache, "use_cache": True, "return_type": None}
    scores, norms = [], []
    for start in range(0, len(ids), CHUNK):
        tokens = torch.tensor([list(ids[start : start + CHUNK])])
        streams = read_streams(lens.model, readout.layers, {}, partial(lens.model, tokens, **options))[0]
        scores.append(readout.scores(streams).numpy())
        norms.append(streams.norm(dim=-1).numpy())
    return [np.concatenate(scores), np.concatenate(norms)]


if __name__ == "__main__":
    main()
