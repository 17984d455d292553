"""Whether fitting the tags' scores (`--labels graded`) gives better readouts than fitting two classes.

    python benchmarks/graded.py                                                   # planted directions
    python benchmarks/graded.py --corpus demo-out/corpus --activations demo-out/activations    # after `make demo`

Two figures, both over held-out groups (5 folds): mean AUROC of positive against negative texts, and mean Spearman correlation of
score and tag over the texts that carry the tag at all. Planted texts are moved along a concept's direction by its tag / 10; tags
are given to a fifth of the texts, noisy (`--tag-noise`, in tag points), in correlated activations.
"""

import argparse
from pathlib import Path

import torch
from einops import einsum
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr
from torch import Tensor

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.loader import read_training_data
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.labels import grade_matrix, group_numbers, label_matrix
from amygdala_tl.directions.method import ESTIMATORS, GRADED_ESTIMATORS

FOLDS = 5


def planted(arguments: argparse.Namespace, seed: int) -> LabelledActivations:
    generator = torch.Generator().manual_seed(seed)
    texts, concepts, d_model = arguments.texts, arguments.concepts, arguments.d_model
    felt = (
        10.0
        * torch.rand(texts, concepts, generator=generator)
        * (torch.rand(texts, concepts, generator=generator) < 0.2)
    )
    directions = torch.nn.functional.normalize(torch.randn(concepts, d_model, generator=generator), dim=-1)
    scales = torch.arange(1.0, d_model + 1).rsqrt()
    mixing = torch.linalg.qr(torch.randn(d_model, d_model, generator=generator)).Q * scales * d_model**0.5 / 3
    activations = torch.randn(texts, d_model, generator=generator) @ mixing.T + 0.2 * felt @ directions
    tags = (felt + arguments.tag_noise * torch.randn(felt.shape, generator=generator)).round().clamp(0, 10)
    tags = torch.where(felt > 0, tags, 0.0)
    return LabelledActivations(activations[:, None], tags >= 8, tags == 0, torch.arange(texts), tags / 10)


def of_corpus(corpus_dir: Path, activations_dir: Path) -> LabelledActivations:
    corpus = read_training_data(corpus_dir)
    store = ActivationStore.find(activations_dir)
    texts = [text for text in corpus.texts if text.split == "train" and not text.neutral]
    ids = [text.id for text in texts]
    return LabelledActivations(
        store.load(ids, store.layers_of(ids), "pooled"),
        label_matrix([text.positive for text in texts], corpus.concepts),
        label_matrix([text.negative for text in texts], corpus.concepts),
        group_numbers([text.group for text in texts]),
        grade_matrix(texts, corpus.concepts),
    )


def held_out(name: str, data: LabelledActivations, *, graded: bool) -> tuple[float, float]:
    """Mean AUROC, and mean Spearman correlation with the tags above 0, over folds, layers and concepts."""
    assert data.grades is not None
    fold = group_folds(data.groups, FOLDS)
    areas: list[Tensor] = []
    correlations: list[float] = []
    for number in range(FOLDS):
        kept, left = data.take(fold != number), data.take(fold == number)
        given = kept if graded else LabelledActivations(kept.activations, kept.positive, kept.negative, kept.groups)
        vectors = ESTIMATORS[name](given).vectors
        scores = einsum(left.activations, vectors, "text layer d_model, concept layer d_model -> layer text concept")
        for layer in scores:
            areas.append(auroc(layer, left.positive, left.negative).nanmean())
            for concept, tags in enumerate(left.grades.T if left.grades is not None else ()):
                tagged = tags > 0
                if int(tagged.sum()) > 4 and len(tags[tagged].unique()) > 1:
                    correlations.append(float(spearmanr(layer[tagged, concept], tags[tagged]).statistic))
    return float(torch.stack(areas).nanmean()), sum(correlations) / len(correlations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="corpus folder; planted data without one")
    parser.add_argument("--activations", type=Path, help="its activations, from `capture` or `train`")
    parser.add_argument("--texts", type=int, default=400, help="planted texts")
    parser.add_argument("--concepts", type=int, default=16, help="planted concepts")
    parser.add_argument("--d-model", type=int, default=128, help="planted dimensions")
    parser.add_argument(
        "--tag-noise", type=float, default=1.0, help="standard deviation of planted tags, in tag points"
    )
    parser.add_argument("--seeds", type=int, default=5, help="planted data sets")
    arguments = parser.parse_args()
    if arguments.corpus is not None:
        sets = [of_corpus(arguments.corpus, arguments.activations or arguments.corpus.parent / "activations")]
    else:
        sets = [planted(arguments, seed) for seed in range(arguments.seeds)]
    table = Table(title=f"{arguments.corpus or 'planted directions'}, held-out groups")
    for column in ("aggregator", "labels", "AUROC", "Spearman with the tag"):
        table.add_column(column)
    for name in GRADED_ESTIMATORS:
        for graded in (False, True):
            found = torch.tensor([held_out(name, data, graded=graded) for data in sets]).mean(dim=0)
            table.add_row(name, "graded" if graded else "classes", f"{found[0]:.3f}", f"{found[1]:.3f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
