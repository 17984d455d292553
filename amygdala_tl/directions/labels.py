"""Labels of texts as tensors."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.errors import InputError
from amygdala_tl.records import CorpusText


def label_matrix(labels: Sequence[Sequence[str]], concepts: Sequence[str]) -> Bool[Tensor, "text concept"]:
    """Return True where a text has the concept among its labels."""
    columns = {concept: column for column, concept in enumerate(concepts)}
    found = torch.zeros(len(labels), len(concepts), dtype=torch.bool)
    table = found.numpy()
    for row, names in enumerate(labels):
        table[row, [columns[name] for name in names if name in columns]] = True
    return found


def grade_matrix(texts: Sequence[CorpusText], concepts: Sequence[str]) -> Float[Tensor, "text concept"]:
    """Return tag score / 10 of every text and concept: 0 without the tag, NaN for texts without any tag.

    Raises:
        InputError: no text has a score.
    """
    if not any(text.scores for text in texts):
        raise InputError("the corpus has no graded labels", got="labels graded", remedy="use labels `classes`")
    rows = [
        [text.scores.get(concept, 0.0) / 10.0 if text.scores else torch.nan for concept in concepts] for text in texts
    ]
    return torch.tensor(rows)


def group_numbers(groups: Sequence[str]) -> Int[Tensor, " text"]:
    """Return a number for every text, equal where the groups are."""
    numbers = {group: number for number, group in enumerate(sorted(set(groups)))}
    return torch.tensor([numbers[group] for group in groups], dtype=torch.int64)
