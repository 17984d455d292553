"""How long the diagnostics take beside scikit-learn, and whether their intervals cover what they say.

    python benchmarks/diagnostics.py                 # AUROC of every readout on every label: seconds beside scikit-learn's
    python benchmarks/diagnostics.py --coverage      # share of simulated corpora whose 95% interval holds the true AUROC
    python benchmarks/diagnostics.py --cross-fitting # the same for cross-fitted scores, and how often nothing is found readable
    python benchmarks/diagnostics.py --permuted DIR  # verdicts on a corpus and its activations, with labels permuted over groups

scikit-learn computes a sample of the problems and its time is scaled; both sides get the same number of threads.
"""

import argparse
import math
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy import stats
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits
from torch import Tensor

from amygdala_tl import Corpus, fit, judge, read_corpus
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.diagnostics.auroc_matrix import auroc_matrix
from amygdala_tl.diagnostics.cross_fit import cross_fitted_scores
from amygdala_tl.diagnostics.intervals import auroc_interval, average_precision_interval, d_prime_interval
from amygdala_tl.diagnostics.nulls import permutation_null
from amygdala_tl.diagnostics.records import VerdictName
from amygdala_tl.diagnostics.scored import ScoredTexts
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.method import Method, apply_method, read_method


def speed(arguments: argparse.Namespace) -> Table:
    """Time of the AUROC of every readout on every label, without and with ties."""
    generator = torch.Generator().manual_seed(0)
    texts, concepts, layers = arguments.texts, arguments.concepts, arguments.layers
    label = torch.randint(-1, 2, (texts, concepts), generator=generator)
    positive, negative = label == 1, label == -1
    scores = torch.randn(layers, texts, concepts, generator=generator)
    size = f"{concepts} x {concepts} x {texts} texts x {layers} layers, {arguments.threads} threads"
    table = Table(title=f"AUROC of readout i on label j: {size}")
    for column in ("scores", "amygdala-tl, s", "scikit-learn, s (scaled)", "times faster", "largest difference"):
        table.add_column(column)
    pairs = [divmod(int(pair), concepts) for pair in np.linspace(0, concepts**2 - 1, arguments.sample)]
    for name, values in (("all different", scores), ("rounded to 0.01 (ties)", scores.mul(100).round().div(100))):
        started = time.perf_counter()
        found = [auroc_matrix(layer, positive, negative) for layer in values]
        ours = time.perf_counter() - started
        started = time.perf_counter()
        expected = []
        for i, j in pairs:
            known = (positive[:, j] | negative[:, j]).numpy()
            expected.append(roc_auc_score(positive[:, j].numpy()[known], values[0, :, i].numpy()[known]))
        theirs = (time.perf_counter() - started) / len(pairs) * concepts**2 * layers
        worst = max(abs(float(found[0][i, j]) - value) for (i, j), value in zip(pairs, expected, strict=True))
        table.add_row(name, f"{ours:.1f}", f"{theirs:.0f}", f"{theirs / ours:.0f}", f"{worst:.1e}")
    return table


@dataclass(frozen=True)
class World:
    """A population of texts in groups with one concept's score, whose true AUROC, average precision and d' are known.

    score = shift * positive + width * (group effect + text effect), of which the group effect is 30% of the variance; a text is
    positive where a Gaussian, of whose variance a share `clustering` belongs to the group, exceeds a threshold.
    """

    groups: int
    texts_a_group: int
    n_positive: int
    auroc: float
    clustering: float
    width: float = 1.0

    @property
    def d_prime(self) -> float:
        return math.sqrt(2) * float(stats.norm.ppf(self.auroc))

    @property
    def shift(self) -> float:
        return self.d_prime * math.sqrt((1 + self.width**2) / 2)

    @property
    def share(self) -> float:
        return self.n_positive / (self.groups * self.texts_a_group)

    @property
    def average_precision(self) -> float:
        """Integral of the precision over the recall."""
        cut = np.linspace(-8, 14, 40_001)
        recall, fallout = stats.norm.sf((cut - self.shift) / self.width), stats.norm.sf(cut)
        precision = self.share * recall / (self.share * recall + (1 - self.share) * fallout + 1e-300)
        return float(-np.trapezoid(precision, recall))

    def draw(self, corpora: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Scores and labels [text, corpus] of corpora that share their grouping, and the groups [text]."""
        sizes = torch.randint(1, 2 * self.texts_a_group, (self.groups,), generator=generator)
        groups = torch.repeat_interleave(torch.arange(self.groups), sizes)

        def noise(of_group: float) -> Tensor:
            shared = torch.randn(self.groups, corpora, generator=generator)[groups]
            return math.sqrt(of_group) * shared + math.sqrt(1 - of_group) * torch.randn(
                shared.shape, generator=generator
            )

        positive = noise(self.clustering) > float(stats.norm.isf(self.share))
        scores = torch.where(positive, self.shift + self.width * noise(0.3), noise(0.3))
        return scores, positive, groups


WORLDS = [
    World(groups, size, n_positive, auroc, clustering, width)
    for groups, size in ((40, 4), (100, 3), (300, 2))
    for n_positive in (9, 30, 100)
    for auroc in (0.6, 0.8, 0.95)
    for clustering, width in ((0.1, 1.0), (0.5, 1.0), (0.1, 1.5))
]


def coverage(corpora: int) -> Table:
    """Share of corpora whose interval holds the truth, and the interval's mean width, by world."""
    table = Table(title=f"share of {corpora} corpora whose 95% interval holds the truth, and its median width")
    for column in ("groups", "positives", "AUROC", "clustered", "width of positives", "AUROC %", "AP %", "d' %"):
        table.add_column(column, justify="right")
    found = []
    for seed, world in enumerate(WORLDS):
        generator = torch.Generator().manual_seed(seed)
        scores, positive, groups = world.draw(corpora, generator)
        cells, row = [], []
        for make, truth in (
            (auroc_interval, world.auroc),
            (average_precision_interval, world.average_precision),
            (d_prime_interval, world.d_prime),
        ):
            interval = make(ScoredTexts(scores, positive, ~positive, groups), generator)
            held = ((interval.low <= truth) & (truth <= interval.high))[interval.value.isfinite()]
            row.append(100 * float(held.double().mean()))
            width = (interval.high - interval.low)[interval.value.isfinite()].median()
            cells.append(f"{row[-1]:.0f} ({float(width):.2f})")
        found.append(row)
        sizes = (world.groups, world.n_positive, world.auroc, world.clustering, world.width)
        table.add_row(*map(str, sizes), *cells)
    table.add_section()
    for name, summary in (("mean", np.mean), ("lowest", np.min), ("highest", np.max)):
        table.add_row(name, "", "", "", "", *(f"{value:.1f}" for value in summary(found, axis=0)))
    return table


CORPORA = [(200, 300, 2), (400, 64, 2), (700, 300, 2), (700, 576, 1), (2500, 64, 1), (2500, 300, 1)]
"""Texts, dimensions and texts a group of the simulated corpora of `cross_fitting`."""

SILENT, PLANTED = 8, 20
"""Concepts without any direction, and concepts with directions of rising strength."""


def activations(n: int, d: int, per_group: int, planted: Tensor, generator: torch.Generator) -> LabelledActivations:
    """Noise of texts and of groups, and a shift of each concept's texts along its direction."""
    groups = torch.arange(n) // per_group
    positive = torch.rand(n, len(planted), generator=generator) < 0.12
    values = torch.randn(n, d, generator=generator)
    values += 0.7 * torch.randn(int(groups.max()) + 1, d, generator=generator)[groups] + positive.float() @ planted
    return LabelledActivations(values[:, None], positive, ~positive, groups)


def cross_fitting(corpora: int) -> Table:
    """Coverage of the AUROC of directions of all texts by intervals of cross-fitted scores, and how often nothing passes."""
    table = Table(title=f"{corpora} corpora of each kind, 12% positive")
    for column in (
        "texts",
        "d",
        "texts a group",
        "method",
        "plain, %",
        "widened, %",
        "p <= .05 without signal, plain %",
        "widened %",
    ):
        table.add_column(column, justify="right")
    rows = []
    for n, d, per_group in CORPORA:
        for method in map(read_method, ("mean", "whitened")):
            held: list[list[Tensor]] = [[], []]
            passed: list[list[Tensor]] = [[], []]
            for seed in range(corpora):
                generator = torch.Generator().manual_seed(seed)
                directions = torch.nn.functional.normalize(
                    torch.randn(SILENT + PLANTED, d, generator=generator), dim=-1
                )
                strength = torch.cat([torch.zeros(SILENT), torch.linspace(0.8, 5.0, PLANTED)])
                planted = strength[:, None] * directions
                data = activations(n, d, per_group, planted, generator)
                fresh = activations(5000, d, 1, planted, generator)

                def fit(some: LabelledActivations, method: Method = method) -> Tensor:
                    names = [str(place) for place in range(some.positive.shape[1])]
                    return apply_method(method, some, some.activations[:0], names).directions

                truth = auroc(fresh.scores(fit(data))[0], fresh.positive, fresh.negative)[SILENT:]
                scores = cross_fitted_scores(data, fit)[0]
                for place, widened in enumerate((False, True)):
                    texts = ScoredTexts(scores, data.positive, data.negative, data.groups, widened)
                    found = auroc_interval(texts, torch.Generator().manual_seed(0))
                    held[place].append((found.low[SILENT:] <= truth) & (truth <= found.high[SILENT:]))
                    p_value = permutation_null(texts, torch.Generator().manual_seed(0), 400).p_value[:SILENT]
                    passed[place].append((p_value <= 0.05) & (found.low[:SILENT] > 0.5))
            row = [100 * float(torch.cat(each).double().mean()) for each in (*held, *passed)]
            rows.append(row)
            table.add_row(str(n), str(d), str(per_group), str(method), *(f"{value:.1f}" for value in row))
    table.add_section()
    table.add_row("mean", "", "", "", *(f"{value:.1f}" for value in np.mean(rows, axis=0)))
    return table


def permuted(folder: Path, corpora: int) -> Table:
    """Verdicts with the labels of a real corpus permuted: texts of one group get labels that were neighbours."""
    corpus, store = read_corpus(folder / "corpus"), ActivationStore.find(folder / "activations")
    count: Counter[str] = Counter()
    for seed in range(corpora):
        shuffled = fit(with_permuted_labels(corpus, seed), store, aggregator="mean,joint")
        found = judge(shuffled, with_permuted_labels(corpus, seed), store)
        count.update(quality.verdict for quality in found.quality)
    table = Table(title=f"{corpora} permutations of {len(corpus.concepts)} concepts")
    for verdict in get_args(VerdictName):
        table.add_column(verdict, justify="right")
    table.add_row(*(f"{100 * count[verdict] / count.total():.1f}%" for verdict in get_args(VerdictName)))
    return table


def with_permuted_labels(corpus: Corpus, seed: int) -> Corpus:
    """The corpus with its labelled texts in an order of groups, and their labels in another one."""
    labelled = [text for text in corpus.texts if not text.neutral]
    groups = sorted({text.group for text in labelled})
    orders = [random.Random(2 * seed + side).sample(groups, len(groups)) for side in range(2)]
    texts, labels = (sorted(labelled, key=lambda text, order=order: order.index(text.group)) for order in orders)
    given = {
        text.id: replace(text, positive=other.positive, negative=other.negative, scores=other.scores)
        for text, other in zip(texts, labels, strict=True)
    }
    return replace(corpus, texts=tuple(given.get(text.id, text) for text in corpus.texts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=200)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--sample", type=int, default=100, help="how many AUROCs scikit-learn computes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="for both sides")
    parser.add_argument("--coverage", action="store_true", help="simulate corpora instead")
    parser.add_argument("--cross-fitting", action="store_true", help="simulate corpora and cross-fit them")
    parser.add_argument(
        "--permuted", type=Path, help="output folder of `demo`, or another one with corpus and activations"
    )
    parser.add_argument("--corpora", type=int, default=200, help="simulated corpora a scenario")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        if arguments.permuted is not None:
            found = permuted(arguments.permuted, arguments.corpora)
        elif arguments.cross_fitting:
            found = cross_fitting(arguments.corpora)
        else:
            found = coverage(arguments.corpora) if arguments.coverage else speed(arguments)
        Console(width=150).print(found)


if __name__ == "__main__":
    main()
