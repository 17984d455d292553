"""How long the estimators take beside scikit-learn's fit of the same objective, and what they lose by it.

    python benchmarks/fit.py                      # everything, some minutes: most of them are scikit-learn's
    python benchmarks/fit.py --only logistic_l1
    python benchmarks/fit.py --only whitened --concepts 20 --texts 2000 --d-model 512

Activations are random with what makes real residual streams hard: a spectrum that decays like 1/rank in directions that no
coordinate shows, two directions and three coordinates that are huge, a mean far from zero. Concepts are tags: each marks 1-10% of
the texts and moves them by `--separation` Mahalanobis units along a direction that is distributed as the activations are.
scikit-learn fits a sample of the problems and its time is scaled; both sides get the same number of threads.
"""

import argparse
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from amygdala_tl.directions import Estimate, LabelledActivations, logistic, logistic_l1
from amygdala_tl.directions.difference_of_means import mean_streamed
from amygdala_tl.directions.whitening import whitened_streamed

BLOCK = 64
PARTS = ("whitened", "logistic", "logistic_l1")


class Stream:
    """Random residual stream of one layer: its covariance is known, and cheap to draw from in any dimension.

    x = mean + R D z + massive coordinates + labels @ planted, with R two rounds of 64 x 64 rotations and a permutation between.
    """

    def __init__(self, d_model: int, concepts: int, separation: float, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        blocks = torch.randn(2, d_model // BLOCK, BLOCK, BLOCK, generator=generator)
        self.rotations = torch.linalg.qr(blocks).Q
        self.order = torch.randperm(d_model, generator=generator)
        self.scales = 3.0 * torch.arange(1.0, d_model + 1).rsqrt()
        self.scales[:2] = torch.tensor([50.0, 20.0])
        self.massive = torch.tensor([300.0, 100.0, 30.0])
        self.mean = 5.0 * torch.randn(d_model, generator=generator)
        white = F.normalize(torch.randn(concepts, d_model, generator=generator), dim=-1)
        self.planted = separation * self.rotate(white * self.scales)

    def rotate(self, rows: Float[Tensor, "text d_model"]) -> Float[Tensor, "text d_model"]:
        for number, rotation in enumerate(self.rotations):
            parts = rearrange(rows, "text (block inner) -> block text inner", inner=BLOCK)
            rows = rearrange(parts @ rotation, "block text inner -> text (block inner)")
            rows = rows[:, self.order] if number == 0 else rows
        return rows

    def rotate_back(self, rows: Float[Tensor, "text d_model"]) -> Float[Tensor, "text d_model"]:
        for number, rotation in reversed(list(enumerate(self.rotations))):
            rows = rows[:, self.order.argsort()] if number == 0 else rows
            parts = rearrange(rows, "text (block inner) -> block text inner", inner=BLOCK)
            rows = rearrange(parts @ rotation.mT, "block text inner -> text (block inner)")
        return rows

    def draw(self, positive: Bool[Tensor, "text concept"], generator: torch.Generator) -> Float[Tensor, "text d_model"]:
        noise = torch.randn(len(positive), len(self.scales), generator=generator)
        rows = self.rotate(noise * self.scales) + self.mean + positive.float() @ self.planted
        rows[:, : len(self.massive)] += self.massive * torch.randn(len(rows), len(self.massive), generator=generator)
        return rows

    def lda(
        self, differences: Float[Tensor, "concept d_model"], shares: Float[Tensor, " concept"]
    ) -> Float[Tensor, "concept d_model"]:
        """Population covariance^-1 times the differences (Woodbury: the massive coordinates and the labels are of low rank)."""

        def solve(rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
            return self.rotate(self.rotate_back(rows.float()) / self.scales**2).double()

        massive = torch.diag(self.massive) @ torch.eye(len(self.massive), len(self.scales))
        low = torch.cat([massive, (shares * (1 - shares)).sqrt()[:, None] * self.planted])
        solved_low, low = solve(low), low.double()
        inner = torch.eye(len(low)).double() + low @ solved_low.T
        solved = solve(differences)
        correction = torch.linalg.solve(inner, low @ solved.T)
        vectors: Tensor = solved - einsum(correction, solved_low, "low concept, low d_model -> concept d_model")
        return vectors


def draw_labels(texts: int, concepts: int, seed: int) -> tuple[Bool[Tensor, "text concept"], Float[Tensor, " concept"]]:
    """Labels of every text, and every concept's share of positives, 1-10%."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.empty(concepts).uniform_(0.01, 0.1, generator=generator)
    return torch.rand(texts, concepts, generator=generator) < shares, shares


@dataclass(frozen=True)
class Reference:
    """A scikit-learn fit beside ours on the same rows: seconds, relative excess of our objective, agreement of supports."""

    seconds: float
    excess: float
    cosine: float
    agreement: float


def compare(
    rows: np.ndarray, label: np.ndarray, ours: np.ndarray, strength: float, model: LogisticRegression, *, l1: bool
) -> Reference:
    started = time.perf_counter()
    model.fit(rows, label)
    seconds = time.perf_counter() - started
    theirs = model.coef_[0]
    weights = np.where(label, len(label) / (2 * label.sum()), len(label) / (2 * (~label).sum()))
    signs = np.where(label, 1.0, -1.0)

    def objective(coefficients: np.ndarray, intercept: float) -> float:
        loss = (weights * np.logaddexp(0, -signs * (rows @ coefficients + intercept))).sum()
        norm = np.abs(coefficients).sum() if l1 else 0.5 * coefficients @ coefficients
        return float(strength * loss + norm)

    # An estimate carries no intercept; the best one is that of the solution.
    found = minimize_scalar(lambda intercept: objective(ours, intercept)).fun
    expected = objective(theirs, float(model.intercept_[0]))
    return Reference(
        seconds=seconds,
        excess=(found - expected) / expected,
        cosine=float(ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs))),
        agreement=float(((ours != 0) == (theirs != 0)).mean()),
    )


def regression(
    table: Table, name: str, arguments: argparse.Namespace, *, l1: bool, sizes: tuple[int, int, int]
) -> None:
    concepts, d_model, texts = sizes
    estimator: Callable[..., Estimate] = logistic_l1 if l1 else logistic
    strength = arguments.strength if arguments.strength is not None else (0.03 if l1 else 0.01)
    positive, _ = draw_labels(texts, concepts, seed=0)
    streams = [Stream(d_model, concepts, arguments.separation, seed) for seed in range(arguments.layers)]
    draws = torch.Generator().manual_seed(1)
    activations = torch.stack([stream.draw(positive, draws) for stream in streams], dim=1)
    data = LabelledActivations(activations, positive, ~positive, torch.arange(len(activations)))
    started = time.perf_counter()
    estimate = estimator(data, strength=strength)
    ours = time.perf_counter() - started
    problems = concepts * arguments.layers
    references = []
    for problem in np.linspace(0, problems - 1, min(arguments.sample, problems)).astype(int):
        concept, layer = problem % concepts, problem // concepts
        values = activations[:, layer].double()
        deviation = values.std(dim=0, correction=0)
        rows = ((values - values.mean(dim=0)) / deviation).numpy()
        # liblinear penalises the intercept; scaled by 100 it is penalised a hundredth as much, which does not show.
        kind = (
            {"l1_ratio": 1.0, "penalty": "l1", "solver": "liblinear", "intercept_scaling": 100.0}
            if l1
            else {"solver": arguments.solver}
        )
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000, **kind)
        scaled = (estimate.vectors[concept, layer].double() * deviation).numpy()
        references.append(compare(rows, positive[:, concept].numpy(), scaled, strength, model, l1=l1))
    theirs = float(np.mean([reference.seconds for reference in references])) * problems
    size = f"{concepts} concepts x {arguments.layers} layers x {d_model} x {texts} texts, C {strength:g}"
    table.add_row(
        name, size, "seconds", f"{ours:.2f}", f"{theirs:.1f} ({len(references)} of {problems} problems, scaled)"
    )
    table.add_row("", "", "times faster", f"{theirs / ours:.0f}", "target 20")
    table.add_row("", "", "worst excess of objective", f"{max(each.excess for each in references):.1e}", "target 1e-4")
    table.add_row("", "", "worst cosine", f"{min(each.cosine for each in references):.6f}", "")
    if l1:
        share = float(np.mean(np.asarray(estimate.parameters["sparsity"])))
        table.add_row(
            "", "", "worst support agreement", f"{min(each.agreement for each in references):.2%}", "target 99%"
        )
        table.add_row("", "", "share of non-zero coordinates", f"{share:.1%}", "")
    if arguments.cross_validation:
        started = time.perf_counter()
        estimator(data)
        table.add_row("", "", "seconds with cross-validation", f"{time.perf_counter() - started:.2f}", "")
    table.add_section()


def whitening(table: Table, arguments: argparse.Namespace, sizes: tuple[int, int, int]) -> None:
    concepts, d_model, texts = sizes
    positive, shares = draw_labels(texts, concepts, seed=0)
    streams = [Stream(d_model, concepts, arguments.separation, seed) for seed in range(arguments.layers)]
    generating = 0.0

    def parts() -> Iterator[LabelledActivations]:
        nonlocal generating
        draws = torch.Generator().manual_seed(1)
        for rows in torch.split(torch.arange(texts), arguments.chunk):
            started = time.perf_counter()
            some = positive[rows]
            activations = torch.stack([stream.draw(some, draws) for stream in streams], dim=1)
            generating += time.perf_counter() - started
            yield LabelledActivations(activations, some, ~some, rows)

    started = time.perf_counter()
    estimate, _ = whitened_streamed(parts, torch.arange(texts))
    seconds = time.perf_counter() - started - generating
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes on Linux
    drawn = generating
    difference = mean_streamed(parts, torch.arange(texts))[0].vectors
    truth = torch.stack([stream.lda(stream.planted, shares) for stream in streams], dim=1)
    known = [stream.lda(difference[:, layer], shares) for layer, stream in enumerate(streams)]
    cosines = {
        "whitened": F.cosine_similarity(estimate.vectors.double(), truth, dim=-1),
        "mean": F.cosine_similarity(difference.double(), truth, dim=-1),
        "the population's covariance": F.cosine_similarity(torch.stack(known, dim=1), truth, dim=-1),
    }
    size = f"{concepts} concepts x {arguments.layers} layers x {d_model} x {texts} texts"
    strengths = ", ".join(f"{strength:g}" for strength in estimate.parameters["shrinkage"])
    table.add_row("whitened", size, "seconds", f"{seconds:.1f}", f"target 90; drawing took {drawn:.1f} more")
    table.add_row("", "", "chosen shrinkage", strengths, "by cross-validation, in the seconds above")
    table.add_row("", "", "peak memory, GB", f"{peak:.2f}", "target 6")
    for name, found in cosines.items():
        value = f"{float(found.min()):.3f}, {float(found.median()):.3f}"
        table.add_row("", "", f"cosine to the LDA direction, {name}", value, "worst, median")
    table.add_section()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    parser.add_argument("--concepts", type=int, help="64; 171 for whitened")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--d-model", type=int, help=f"576; 5120 for whitened; a multiple of {BLOCK}")
    parser.add_argument("--texts", type=int, help="6000; 10000 for whitened")
    parser.add_argument("--strength", type=float, help="C; 0.01, or 0.03 for logistic_l1")
    parser.add_argument("--separation", type=float, default=4.0, help="Mahalanobis distance of a concept's texts")
    parser.add_argument(
        "--solver", choices=("lbfgs", "newton-cholesky"), default="lbfgs", help="scikit-learn's for logistic"
    )
    parser.add_argument("--sample", type=int, default=8, help="how many problems scikit-learn fits")
    parser.add_argument("--chunk", type=int, default=1000, help="texts at a time for whitened")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="for both sides")
    parser.add_argument("--cross-validation", action="store_true", help="also time the choice of the strength")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(arguments.threads)
    table = Table(
        title=f"fit, {arguments.threads} threads on both sides, float32 (scikit-learn: float64, its default tolerance)"
    )
    for column in ("estimator", "size", "what", "amygdala-tl", "reference"):
        table.add_column(column)
    with threadpool_limits(arguments.threads):
        for part in PARTS:  # whitened first: peak memory is that of the whole process
            if arguments.only not in (None, part):
                continue
            usual = (171, 5120, 10_000) if part == "whitened" else (64, 576, 6000)
            asked = (arguments.concepts, arguments.d_model, arguments.texts)
            sizes = (asked[0] or usual[0], asked[1] or usual[1], asked[2] or usual[2])
            if part == "whitened":
                whitening(table, arguments, sizes)
            else:
                regression(table, part, arguments, l1=part == "logistic_l1", sizes=sizes)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
