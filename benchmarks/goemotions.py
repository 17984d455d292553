"""How well directions of the embedded model separate real labelled texts, beside a bag of words.

GoEmotions (Demszky et al. 2020, arXiv:2005.00547; CC BY 4.0): the first 6,000 rows of train.tsv, the first 2,500 of test.tsv,
concepts with at least 20 training and 8 test positives. Every other text is a negative. Methods and layers are compared by
five-fold cross-validation on the training rows; test rows are scored once, with what that chose.

    python benchmarks/goemotions.py --data DIR
"""

import argparse
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from einops import einsum, rearrange
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from amygdala_tl import load_model
from amygdala_tl.activations.capture import capture_texts
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.choice import CANDIDATES, held_out_aurocs
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.method import Method, apply_method, read_method
from amygdala_tl.readout.calibration import calibrate
from amygdala_tl.records import CaptureSettings, ReadPosition
from amygdala_tl.report.progress import capture_progress

TRAIN_ROWS, TEST_ROWS = 6000, 2500
MORE = tuple(map(read_method, ("whitened", "logistic", "logistic_l1", "pca")))


def main() -> None:
    """Capture, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv, test.tsv and labels.txt")
    parser.add_argument("--layers", default="6,10,14,19,23", help="those of `capture`, unless given")
    parser.add_argument("--only", help="this method alone, such as `whitened`")
    parser.add_argument("--chat-template", choices=["none", "user", "assistant"], default="user")
    parser.add_argument("--activations", type=Path, default=Path(".cache/goemotions"), help="where they are kept")
    parser.add_argument("--all", action="store_true", help="also the methods that auto does not compare")
    options = parser.parse_args()
    console = Console(width=140)
    layers = [int(layer) for layer in options.layers.split(",")]
    names = (options.data / "labels.txt").read_text(encoding="utf-8").split()
    train = read_rows(options.data / "train.tsv", TRAIN_ROWS, len(names))
    test = read_rows(options.data / "test.tsv", TEST_ROWS, len(names))
    emotions = torch.tensor([name != "neutral" for name in names])
    kept = (train[1].sum(dim=0) >= 20) & (test[1].sum(dim=0) >= 8) & emotions
    concepts = [name for name, keep in zip(names, kept.tolist(), strict=True) if keep]
    settings = CaptureSettings(chat_template=options.chat_template)
    store = captured([*train[0], *test[0]], layers, options.activations, settings, console)
    data = labelled(store, train, layers, kept)
    neutral = data.activations[train[1][:, ~emotions][:, 0] & (train[1].sum(dim=1) == 1)]
    unseen = labelled(store, test, layers, kept)
    console.print(f"{len(train[0])} training and {len(test[0])} test texts, {len(concepts)} concepts")

    methods = [*CANDIDATES, *(MORE if options.all or options.only else ())]
    methods = [method for method in methods if options.only in (None, str(method))]
    fold = group_folds(data.groups, 5)
    validated: dict[Method, Tensor] = {}
    tested: dict[Method, Tensor] = {}
    combined: dict[Method, Tensor] = {}
    seconds: dict[Method, float] = {}
    for method in track(methods, "fitting", console=console, transient=True):
        validated[method] = held_out_aurocs(method, data, neutral, fold).nanmean(dim=2).nanmean(dim=0)
        start = time.monotonic()
        directions = apply_method(method, data, neutral, concepts).directions
        seconds[method] = time.monotonic() - start
        tested[method] = by_layer(directions, unseen)
        combined[method] = over_layers(store, (train[0], test[0]), layers, directions, unseen)
    words = bag_of_words(train[0], train[1][:, kept], test[0], test[1][:, kept])
    print_tables(console, layers, concepts, validated, tested, combined, seconds, words)


def read_rows(path: Path, count: int, n_labels: int) -> tuple[list[str], Tensor]:
    """The first `count` texts of a TSV file, and their labels [text, label]."""
    texts, labels = [], torch.zeros(count, n_labels, dtype=torch.bool)
    with path.open(encoding="utf-8") as lines:
        for row, line in zip(range(count), lines, strict=False):
            text, indices, _ = line.rstrip("\n").split("\t")
            texts.append(text)
            labels[row, [int(index) for index in indices.split(",")]] = True
    return texts, labels


def text_id(text: str) -> str:
    """Name of a text in the store."""
    return hashlib.sha256(text.encode()).hexdigest()


def captured(
    texts: Sequence[str], layers: Sequence[int], root: Path, settings: CaptureSettings, console: Console
) -> ActivationStore:
    """The store with the activations of all texts; takes minutes the first time."""
    model = load_model("embedded")
    store = ActivationStore.for_model(root, model.info, settings)
    with capture_progress(console) as progress:
        capture_texts(model, {text_id(text): text for text in texts}, layers, store, progress=progress)
    return store


def labelled(
    store: ActivationStore,
    rows: tuple[list[str], Tensor],
    layers: Sequence[int],
    kept: Tensor,
    position: ReadPosition = "pooled",
) -> LabelledActivations:
    """Activations and labels of the kept concepts; equal texts are one group."""
    ids = [text_id(text) for text in rows[0]]
    unique = list(dict.fromkeys(ids))
    number = {name: index for index, name in enumerate(unique)}
    groups = torch.tensor([number[name] for name in ids])
    positive = rows[1][:, kept]
    return LabelledActivations(store.load(unique, layers, position)[groups], positive, ~positive, groups)


def by_layer(directions: Tensor, unseen: LabelledActivations) -> Tensor:
    """AUROC [layer, concept] on unseen texts."""
    scores = einsum(unseen.activations, directions, "text layer d_model, concept layer d_model -> layer text concept")
    return torch.stack([auroc(layer, unseen.positive, unseen.negative) for layer in scores])


def over_layers(
    store: ActivationStore,
    texts: tuple[list[str], list[str]],
    layers: Sequence[int],
    directions: Tensor,
    unseen: LabelledActivations,
) -> Tensor:
    """AUROC [concept] on unseen texts of the score over all layers, with weights and lengths from the training texts."""
    known, new = ([text_id(text) for text in some] for some in texts)
    known = list(dict.fromkeys(known))
    vectors = rearrange(directions, "concept layer d_model -> layer concept d_model")
    counts = store.load_counts([*known, *new], layers)
    assert counts is not None
    lengths = ((counts[rows], part) for rows, part in store.batches(known, layers, "pooled"))
    parts = (part for _, part in store.batches(known, layers, "pooled"))
    _, combined = calibrate(parts, store.tokens(known, layers), lengths, vectors)
    assert combined is not None
    scores = einsum(unseen.activations, vectors, "text layer d_model, layer concept d_model -> text layer concept")
    z = combined.z(scores, of="texts", tokens=counts[len(known) :])
    return auroc(z, unseen.positive, unseen.negative)


def bag_of_words(train: list[str], labels: Tensor, test: list[str], truth: Tensor) -> Tensor:
    """AUROC [concept] of tf-idf of words and word pairs with logistic regression, which knows no model at all."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    seen, unseen = vectorizer.fit_transform(train), vectorizer.transform(test)
    scores = [
        torch.from_numpy(
            LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000)
            .fit(seen, labels[:, concept].numpy())
            .decision_function(unseen)
        )
        for concept in range(labels.shape[1])
    ]
    return auroc(torch.stack(scores, dim=1), truth, ~truth)


def print_tables(
    console: Console,
    layers: Sequence[int],
    concepts: Sequence[str],
    validated: dict[Method, Tensor],
    tested: dict[Method, Tensor],
    combined: dict[Method, Tensor],
    seconds: dict[Method, float],
    words: Tensor,
) -> None:
    """Means over concepts by layer, and every concept at each method's own layer."""
    default = max(validated, key=lambda method: float(validated[method].mean()))
    chosen = {method: int(values.argmax()) for method, values in validated.items()}
    means = Table(title="mean AUROC of test texts (of held-out training texts)", title_justify="left")
    means.add_column("layer")
    for method in validated:
        means.add_column(f"{method}{' (auto)' if method == default else ''}", justify="right")
    means.add_column("bag of words", justify="right")
    for row, layer in enumerate(layers):
        cells = [
            f"{'[bold]' if chosen[method] == row else ''}{tested[method][row].mean():.3f} ({validated[method][row]:.3f})"
            for method in validated
        ]
        means.add_row(str(layer), *cells, f"{words.mean():.3f}")
    means.add_row("its layer", *(f"{layers[chosen[method]]}" for method in validated), "")
    means.add_row(
        "there",
        *(f"[bold]{tested[method][chosen[method]].mean():.3f}" for method in validated),
        f"[bold]{words.mean():.3f}",
    )
    means.add_row("all layers", *(f"[bold]{combined[method].mean():.4f}" for method in validated), "")
    means.add_row("fit, s", *(f"{seconds[method]:.1f}" for method in validated), "")
    console.print(means)
    each = Table(title="AUROC of test texts, each method at its layer", title_justify="left")
    each.add_column("concept")
    for method in validated:
        each.add_column(str(method), justify="right")
    each.add_column("bag of words", justify="right")
    for column, concept in enumerate(concepts):
        cells = [f"{tested[method][chosen[method]][column]:.3f}" for method in validated]
        each.add_row(concept, *cells, f"{words[column]:.3f}")
    console.print(each)
    one, best = tested[default][chosen[default]], float(combined[default].mean())
    worst = int((combined[default] - one).argmin())
    console.print(
        f"default: {default} over all layers, mean AUROC {best:.4f}, {best - float(words.mean()):+.4f} against the bag of words, "
        f"{best - float(one.mean()):+.4f} against layer {layers[chosen[default]]} alone "
        f"({concepts[worst]} least: {float(combined[default][worst] - one[worst]):+.4f})"
    )


if __name__ == "__main__":
    main()
