"""Do readouts of one kind of text read another?

    python benchmarks/transfer.py --data DIR      # demo graph, GoEmotions and XED: a readout of each on the two others
    python benchmarks/transfer.py --planted       # how often the verdicts are right where the truth is known

GoEmotions (Demszky et al. 2020, arXiv:2005.00547): Reddit comments, the first 6,000 rows of train.tsv. XED (Öhman et al. 2020,
COLING): lines of film subtitles, the first 4,000 rows. Both are CC BY 4.0. Readouts have the package's defaults.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import amygdala_tl as at
from amygdala_tl.api.judge import with_verdicts
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.diagnostics.cross_fit import cross_fitted_scores
from amygdala_tl.diagnostics.intervals import auroc_interval
from amygdala_tl.diagnostics.records import Evaluation, TransferName
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.diagnostics.transfer import transfer
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.method import Method, apply_method, read_method
from amygdala_tl.readout.provenance import Verdict

GOEMOTIONS_ROWS, XED_ROWS = 6000, 4000
XED = ("anger", "anticipation", "disgust", "fear", "joy", "sadness", "surprise", "trust")


def goemotions(folder: Path) -> at.Corpus:
    """Comments with their emotions; those that are only neutral have none of them."""
    names = (folder / "labels.txt").read_text(encoding="utf-8").split()
    texts, labels = [], []
    for line in (folder / "train.tsv").read_text(encoding="utf-8").splitlines()[:GOEMOTIONS_ROWS]:
        text, numbers, _ = line.split("\t")
        texts.append(text)
        labels.append([int(str(place) in numbers.split(",")) for place in range(len(names))])
    emotions = [place for place, name in enumerate(names) if name != "neutral"]
    return at.Corpus.from_texts(texts, torch.tensor(labels)[:, emotions], concepts=[names[place] for place in emotions])


def xed(folder: Path) -> at.Corpus:
    """Lines of subtitles with at least one of eight emotions."""
    texts, labels = [], []
    for line in (folder / "en-annotated.tsv").read_text(encoding="utf-8").splitlines()[:XED_ROWS]:
        text, numbers = line.split("\t")
        texts.append(text)
        labels.append([XED[int(number) - 1] for number in numbers.split(",")])
    return at.Corpus.from_texts(texts, labels, concepts=XED)


def real(data: Path, activations: Path, console: Console) -> Table:
    """A readout of every corpus on every other one."""
    corpora = {
        "demo": at.extract(memory_file=demo_graph_path()),
        "GoEmotions": goemotions(data / "goemotions"),
        "XED": xed(data / "xed"),
    }
    lens = at.load_model("embedded")
    table = Table(title="means over the concepts that both have")
    columns = (
        "from",
        "to",
        "concepts",
        "at home",
        "transferred",
        "trained there",
        "bag of words",
        *get_args(TransferName),
    )
    for column in columns:
        table.add_column(column, justify="right")
    for home, corpus in corpora.items():
        store, _ = at.capture(corpus, lens, activations)
        readout = at.fit(corpus, store)
        readout = with_verdicts(readout, at.judge(readout, corpus, store))
        for there, other in corpora.items():
            if there != home:
                found = at.evaluate(readout, other, lens, corpus=corpus, store=store)
                table.add_row(home, there, *row(found))
                console.print(home, "->", there, *one_by_one(found))
    return table


def row(found: Evaluation) -> list[str]:
    assert found.transfer is not None
    assert found.at_home is not None
    judged = found.auroc.value.isfinite()
    columns = (found.at_home, found.auroc.value, found.transfer.trained_there, found.bag_of_words)
    count = Counter(name for name, kept in zip(found.transfer.verdict, judged.tolist(), strict=True) if kept)
    means = (f"{float(column[judged].nanmean()):.3f}" for column in columns)
    return [str(int(judged.sum())), *means, *(str(count[name]) for name in get_args(TransferName))]


def one_by_one(found: Evaluation) -> list[str]:
    """Every concept with its AUROC at home, here, of a readout that is trained here, and its verdict."""
    assert found.transfer is not None
    assert found.at_home is not None
    columns = (found.at_home, found.auroc.value, found.transfer.trained_there)
    return [
        f"\n  {concept}: {' '.join(f'{float(column[place]):.3f}' for column in columns)} {found.transfer.verdict[place]}"
        for place, concept in enumerate(found.concepts)
    ]


SAME, OTHER, D_MODEL = 10, 10, 64
"""Concepts whose direction is the same in both domains, those that have another one there, and the number of dimensions."""


def activations_of(
    n: int, directions: Tensor, mixing: Tensor, centre: Tensor, generator: torch.Generator
) -> LabelledActivations:
    """Texts of a domain, two a group: noise of its covariance about its mean, and a shift along each concept's direction."""
    groups = torch.arange(n) // 2
    positive = torch.rand(n, len(directions), generator=generator) < 0.12
    shared = 0.7 * torch.randn(n, D_MODEL, generator=generator)[groups]
    noise = (torch.randn(n, D_MODEL, generator=generator) + shared) @ mixing
    return LabelledActivations((noise + centre + positive.float() @ directions)[:, None], positive, ~positive, groups)


def verdicts_of(seed: int, method: Method, n_home: int, n_there: int) -> tuple[TransferName, ...]:
    """Verdicts in one pair of domains; the first `SAME` concepts have one direction in both."""
    generator = torch.Generator().manual_seed(seed)
    n_concepts = SAME + OTHER
    home, there = torch.nn.functional.normalize(torch.randn(2, n_concepts, D_MODEL, generator=generator), dim=-1)
    there[:SAME] = home[:SAME]
    strength = torch.linspace(2.0, 5.0, SAME).repeat(2)[:, None]
    mixing = torch.eye(D_MODEL) + 0.3 * torch.randn(2, D_MODEL, D_MODEL, generator=generator) / D_MODEL**0.5
    centre = 3.0 * torch.randn(2, D_MODEL, generator=generator)
    trained = activations_of(n_home, strength * home, mixing[0], centre[0], generator)
    other = activations_of(n_there, strength * there, mixing[1], centre[1], generator)

    def fit(some: LabelledActivations) -> Tensor:
        return apply_method(
            method, some, some.activations[:0], [str(n) for n in range(some.positive.shape[1])]
        ).directions

    names = tuple(str(place) for place in range(n_concepts))
    own = ScoredTexts(cross_fitted_scores(trained, fit)[0], trained.positive, trained.negative, trained.groups, True)
    found = auroc_interval(own, torch.Generator().manual_seed(0))
    at_home = {
        name: Verdict("readable", auroc=float(value), interval=(float(low), float(high)))
        for name, value, low, high in zip(names, found.value, found.low, found.high, strict=True)
    }
    texts = ScoredTexts(other.scores(fit(trained))[0], other.positive, other.negative, other.groups)
    return transfer(texts, cross_fitted_scores(other, fit)[0], at_home, names, torch.Generator().manual_seed(0)).verdict


def planted(corpora: int) -> Table:
    """Shares of the verdicts on concepts whose direction is the same elsewhere, and on those whose is not."""
    table = Table(
        title=f"{corpora} pairs of domains of each size, {SAME} concepts of each kind, 12% positive, two texts a group"
    )
    for column in (
        "texts at home",
        "elsewhere",
        "method",
        "direction elsewhere",
        *(f"{name}, %" for name in get_args(TransferName)),
    ):
        table.add_column(column, justify="right")
    for n_home, n_there in ((700, 400), (700, 1000), (2000, 2000)):
        for method in map(read_method, ("mean", "whitened")):
            found = [verdicts_of(seed, method, n_home, n_there) for seed in range(corpora)]
            for what, places in (("the same", slice(0, SAME)), ("another", slice(SAME, None))):
                count = Counter(name for verdict in found for name in verdict[places])
                shares = (f"{100 * count[name] / count.total():.1f}" for name in get_args(TransferName))
                table.add_row(str(n_home), str(n_there), str(method), what, *shares)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with goemotions/ and xed/")
    parser.add_argument("--activations", type=Path, default=Path(".cache/transfer"), help="where they are kept")
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--corpora", type=int, default=20, help="simulated pairs of domains of each kind")
    arguments = parser.parse_args()
    console = Console(width=150)
    if arguments.planted:
        console.print(planted(arguments.corpora))
    elif arguments.data is not None:
        console.print(real(arguments.data, arguments.activations, console))
    else:
        parser.error("--data DIR or --planted")


if __name__ == "__main__":
    main()
