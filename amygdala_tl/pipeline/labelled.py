"""Texts of a corpus with their labels as tensors, and their activations from the store."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.errors import InputError
from amygdala_tl.records import CorpusText, ReadPosition


class LabelledTexts:
    """Texts with their labels; their activations stay in the store until they are asked for, in parts or all at once."""

    def __init__(
        self,
        texts: Sequence[CorpusText],
        concepts: Sequence[str],
        store: ActivationStore,
        layers: Sequence[int],
        read_position: ReadPosition,
        *,
        graded: bool,
    ) -> None:
        self.ids = [text.id for text in texts]
        self.store = store
        self.layers = layers
        self.read_position = read_position
        self.positive = label_matrix([text.positive for text in texts], concepts)
        self.negative = label_matrix([text.negative for text in texts], concepts)
        self.groups = group_numbers([text.group for text in texts])
        self.grades = grade_matrix(texts, concepts) if graded else None

    def parts(self) -> Iterator[LabelledActivations]:
        """One pass over the store."""
        for rows, activations in self.store.batches(self.ids, self.layers, self.read_position):
            yield LabelledActivations(
                activations=activations,
                positive=self.positive[rows],
                negative=self.negative[rows],
                groups=self.groups[rows],
                grades=None if self.grades is None else self.grades[rows],
            )

    def whole(self, *, spread: bool) -> LabelledActivations:
        """All of them in memory."""
        return LabelledActivations(
            activations=self.store.load(self.ids, self.layers, self.read_position),
            positive=self.positive,
            negative=self.negative,
            groups=self.groups,
            grades=self.grades,
            spread=self.store.load_spread(self.ids, self.layers) if spread else None,
        )


def grade_matrix(texts: Sequence[CorpusText], concepts: Sequence[str]) -> Float[Tensor, "text concept"]:
    """Tag score / 10 of every text and concept, 0 without the tag, NaN for texts without any tag.

    Raises:
        InputError: no text has a score.
    """
    if not any(text.scores for text in texts):
        raise InputError("the corpus has no graded labels", got="--labels graded", remedy="use --labels classes")
    rows = [
        [text.scores.get(concept, 0.0) / 10.0 if text.scores else torch.nan for concept in concepts] for text in texts
    ]
    return torch.tensor(rows)


def label_matrix(labels: Sequence[Sequence[str]], concepts: Sequence[str]) -> Bool[Tensor, "text concept"]:
    """True where a text's labels hold the concept."""
    column = {concept: index for index, concept in enumerate(concepts)}
    matrix = torch.zeros(len(labels), len(concepts), dtype=torch.bool)
    for row, names in enumerate(labels):
        for name in names:
            if name in column:
                matrix[row, column[name]] = True
    return matrix


def group_numbers(groups: Sequence[str]) -> Int[Tensor, " text"]:
    """A number a text, equal where the group is."""
    numbers = {group: number for number, group in enumerate(sorted(set(groups)))}
    return torch.tensor([numbers[group] for group in groups])
