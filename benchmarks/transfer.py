"""Do readouts of one kind of text read another?

    python benchmarks/transfer.py --data DIR      # demo graph, GoEmotions and XED: a readout of each on the two others
    python benchmarks/transfer.py --data DIR --tried     # what was tried to lift it, on centred whitened directions
    python benchmarks/transfer.py --planted       # how often the verdicts are right where the truth is known

GoEmotions (Demszky et al. 2020, arXiv:2005.00547): Reddit comments, the first 6,000 rows of train.tsv. XED (Öhman et al. 2020,
COLING): lines of film subtitles, the first 4,000 rows. Both are CC BY 4.0. Readouts have the package's defaults.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import amygdala_tl as at
from amygdala_tl.api.judge import with_verdicts
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.diagnostics.cross_fit import cross_fitted_scores
from amygdala_tl.diagnostics.intervals import auroc_interval
from amygdala_tl.diagnostics.records import Evaluation, TransferName
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.diagnostics.transfer import transfer
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.labels import label_matrix
from amygdala_tl.directions.method import Method, apply_method, read_method
from amygdala_tl.lens.model import Lens
from amygdala_tl.readout.provenance import Verdict

GOEMOTIONS_ROWS, XED_ROWS = 6000, 4000
XED = ("anger", "anticipation", "disgust", "fear", "joy", "sadness", "surprise", "trust")
HELD_OUT = 0.2


def demo() -> at.Corpus:
    """Notes of the demo graph."""
    return at.extract(memory_file=demo_graph_path(), rules=LabelRules(heldout_fraction=HELD_OUT))


def goemotions(folder: Path) -> at.Corpus:
    """Comments with their emotions; those that are only neutral have none of them."""
    names = (folder / "labels.txt").read_text(encoding="utf-8").split()
    texts, labels = [], []
    for line in (folder / "train.tsv").read_text(encoding="utf-8").splitlines()[:GOEMOTIONS_ROWS]:
        text, numbers, _ = line.split("\t")
        texts.append(text)
        labels.append([int(str(place) in numbers.split(",")) for place in range(len(names))])
    emotions = [place for place, name in enumerate(names) if name != "neutral"]
    return at.Corpus.from_texts(
        texts,
        torch.tensor(labels)[:, emotions],
        concepts=[names[place] for place in emotions],
        heldout_fraction=HELD_OUT,
    )


def xed(folder: Path) -> at.Corpus:
    """Lines of subtitles with at least one of eight emotions."""
    texts, labels = [], []
    for line in (folder / "en-annotated.tsv").read_text(encoding="utf-8").splitlines()[:XED_ROWS]:
        text, numbers = line.split("\t")
        texts.append(text)
        labels.append([XED[int(number) - 1] for number in numbers.split(",")])
    return at.Corpus.from_texts(texts, labels, concepts=XED, heldout_fraction=HELD_OUT)


def real(data: Path, activations: Path, console: Console) -> Table:
    """A readout of every corpus on every other one."""
    corpora = {
        "demo": demo(),
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


Change = Callable[[Tensor, int], Tensor]
"""Activations [text, d_model] of one layer, and its place -> activations to fit and read."""

LAYERS, DEEPER = (10, 14, 18, 22), (18, 20, 22, 24)
PAIRS = (("GoEmotions", "XED"), ("XED", "GoEmotions"), ("demo", "GoEmotions"), ("GoEmotions", "demo"))


@dataclass(frozen=True)
class Domain:
    """Activations [text, layer, d_model] and labels of one corpus."""

    activations: Tensor
    positive: Tensor
    negative: Tensor
    concepts: tuple[str, ...]

    def of(self, concepts: Sequence[str]) -> "Domain":
        rows = [self.concepts.index(name) for name in concepts]
        return Domain(self.activations, self.positive[:, rows], self.negative[:, rows], tuple(concepts))

    def differences(self, change: Change, place: int) -> Tensor:
        """Difference of the class means [concept, d_model] at a layer."""
        values = change(self.activations[:, place], place)
        plus, minus = (label.float().T @ values / label.sum(dim=0)[:, None] for label in (self.positive, self.negative))
        return plus - minus

    def covariance(self, change: Change, place: int) -> Tensor:
        return torch.cov(change(self.activations[:, place], place).T)


def domain(corpus: at.Corpus, lens: Lens, activations: Path, layers: Sequence[int]) -> Domain:
    store, _ = at.capture(corpus, lens, activations, layers=list(layers))
    texts = [text for text in corpus.texts if not text.neutral]
    labels = (
        label_matrix([getattr(text, side) for text in texts], corpus.concepts) for side in ("positive", "negative")
    )
    return Domain(store.load([text.id for text in texts], list(layers), "pooled").float(), *labels, corpus.concepts)


def whitened(difference: Tensor, covariance: Tensor, shrinkage: float) -> Tensor:
    level = covariance.diagonal().mean() * torch.eye(len(covariance))
    directions = torch.linalg.solve((1 - shrinkage) * covariance + shrinkage * level, difference.T).T
    return torch.nn.functional.normalize(directions, dim=-1)


def unchanged(values: Tensor, _place: int) -> Tensor:
    return values


def unit_norms(values: Tensor, _place: int) -> Tensor:
    return torch.nn.functional.normalize(values - values.mean(dim=0), dim=-1)


def without_differences(home: Domain, there: Domain, most: int) -> Change:
    """Take out the directions in which the covariances of two domains differ most, and the difference of their means."""
    kept = []
    for place in range(home.activations.shape[1]):
        one, other = (each.covariance(unchanged, place) for each in (home, there))
        both = (one + other) / 2
        values, vectors = torch.linalg.eigh(both + 0.05 * both.diagonal().mean() * torch.eye(len(both)))
        inward, outward = (vectors @ torch.diag(values**power) @ vectors.T for power in (-0.5, 0.5))
        size, axes = torch.linalg.eigh(inward @ (other - one) @ inward)
        means = [each.activations[:, place].mean(dim=0) for each in (home, there)]
        axes = torch.cat(
            [(inward @ (means[1] - means[0]))[:, None], axes[:, size.abs().argsort(descending=True)[:most]]], 1
        )
        basis, _ = torch.linalg.qr(axes)
        kept.append(inward @ (torch.eye(len(both)) - basis @ basis.T) @ outward)
    return lambda values, place: values @ kept[place]


def transferred(
    homes: Sequence[Domain],
    there: Domain,
    shrinkage: float = 0.5,
    change: Change = unchanged,
    places: Sequence[int] = range(len(LAYERS)),
    *,
    both: bool = False,
) -> float:
    """Mean AUROC on one domain of the sum over layers of directions from others; `both` also uses its covariance."""
    common = [name for name in there.concepts if all(name in home.concepts for home in homes)]
    homes, there = [home.of(common) for home in homes], there.of(common)
    total = torch.zeros(there.positive.shape)
    for place in places:
        weights = [home.positive.sum(dim=0)[:, None] for home in homes]
        difference = sum(home.differences(change, place) * weight for home, weight in zip(homes, weights, strict=True))
        known = [*homes, there] if both else homes
        covariance = sum(each.covariance(change, place) for each in known) / len(known)
        directions = whitened(difference / sum(weights), covariance, shrinkage)
        scale = (change(homes[0].activations[:, place], place) @ directions.T).std(dim=0)
        total += change(there.activations[:, place], place) @ directions.T / scale
    return float(auroc(total, there.positive, there.negative).nanmean())


def tried(data: Path, activations: Path) -> Table:
    """What might carry a readout to other texts, without labels of theirs."""
    lens, layers = at.load_model("embedded"), sorted({*LAYERS, *DEEPER})
    corpora = {
        "demo": demo(),
        "GoEmotions": goemotions(data / "goemotions"),
    }
    corpora["XED"] = xed(data / "xed")
    domains = {name: domain(corpus, lens, activations, layers) for name, corpus in corpora.items()}
    places = [layers.index(layer) for layer in LAYERS]
    deeper = [layers.index(layer) for layer in DEEPER]
    table = Table(title="mean AUROC over the concepts that both have")
    for column in ("", *(f"{home} -> {there}" for home, there in PAIRS)):
        table.add_column(column, justify="right")

    def add(name: str, measure: Callable[[Domain, Domain], float]) -> None:
        table.add_row(name, *(f"{measure(domains[home], domains[there]):.3f}" for home, there in PAIRS))

    for strength in (0.1, 0.3, 0.5, 0.7, 0.9):
        add(
            f"layers {LAYERS}, shrinkage {strength}",
            lambda one, two, s=strength: transferred([one], two, s, places=places),
        )
    for place in places:
        add(f"layer {layers[place]} alone", lambda one, two, p=place: transferred([one], two, places=[p]))
    for strength in (0.5, 0.7):
        add(
            f"layers {DEEPER}, shrinkage {strength}",
            lambda one, two, s=strength: transferred([one], two, s, places=deeper),
        )
    add("covariance of both", lambda one, two: transferred([one], two, places=places, both=True))
    add("unit norms", lambda one, two: transferred([one], two, change=unit_norms, places=places))
    for most in (0, 8, 32):
        name = f"without the difference of means and {most} other directions"
        add(
            name,
            lambda one, two, k=most: transferred([one], two, change=without_differences(one, two, k), places=places),
        )
    others = {there: [name for name in domains if name != there] for there in domains}
    name = "both other corpora in training, concepts of all three"
    table.add_row(
        name,
        *(
            f"{transferred([domains[name] for name in others[there]], domains[there], places=places):.3f}"
            for _, there in PAIRS
        ),
    )
    three = [name for name in domains["demo"].concepts if all(name in each.concepts for each in domains.values())]
    add("one corpus in training, the same concepts", lambda one, two: transferred([one], two.of(three), places=places))
    return table


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
    parser.add_argument("--tried", action="store_true")
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--corpora", type=int, default=20, help="simulated pairs of domains of each kind")
    arguments = parser.parse_args()
    console = Console(width=150)
    if arguments.planted:
        console.print(planted(arguments.corpora))
    elif arguments.data is not None and arguments.tried:
        console.print(tried(arguments.data, arguments.activations))
    elif arguments.data is not None:
        console.print(real(arguments.data, arguments.activations, console))
    else:
        parser.error("--data DIR or --planted")


if __name__ == "__main__":
    main()
