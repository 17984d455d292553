"""`suggest_words`: words to test concepts on that no word list has."""

from collections.abc import Sequence

import torch

from amygdala_tl.api.models import lens_of
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.lens.model import Lens
from amygdala_tl.names import named_concepts
from amygdala_tl.readout.record import Readout
from amygdala_tl.steering.suggesting import SuggestedWords, near_names, told_apart_by


def suggest_words(
    readout: Readout, lens: Lens | str | None = None, *, corpus: Corpus | None = None, concepts: Sequence[str] = ()
) -> tuple[SuggestedWords, ...]:
    """Suggest words that `steer` can test concepts on: those near each name in the model's unembedding.

    Args:
        readout: names the concepts. A word near two of them is suggested for the nearer one.
        lens: the readout's model, or its name; loaded by the readout's own name for it if None.
        corpus: adds words that tell a concept's texts from the others.
        concepts: names of those to suggest words for; all of the readout if empty.

    Raises:
        InputError: the readout has no such concept.
        ReadoutError: the readout does not fit the model.
    """
    wanted, lens = named_concepts(concepts, readout.concepts) or readout.concepts, lens_of(readout, lens)
    told_apart: list[tuple[str, ...]] = [()] * len(readout.concepts)
    if corpus is not None:
        own = [[concept in text.positive for concept in readout.concepts] for text in corpus.texts]
        told_apart = told_apart_by([text.text for text in corpus.texts], torch.tensor(own))
    found = zip(readout.concepts, near_names(lens, readout.concepts), told_apart, strict=True)
    return tuple(SuggestedWords(*words) for words in found if words[0] in wanted)
