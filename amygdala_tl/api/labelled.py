"""Texts of a corpus joined with their activations in a store."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.diagnostics.evaluation import JudgedTexts
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.labels import grade_matrix, group_numbers, label_matrix
from amygdala_tl.errors import InputError
from amygdala_tl.lens.tokenize import part_length
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import CorpusText, ReadPosition, Split


class LabelledTexts:
    """Labelled texts with activations that stay in the store until they are asked for, in parts or all at once."""

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
        """Pass over the store once."""
        for rows, activations in self.store.batches(self.ids, self.layers, self.read_position):
            grades = None if self.grades is None else self.grades[rows]
            yield LabelledActivations(activations, self.positive[rows], self.negative[rows], self.groups[rows], grades)

    def whole(self, *, spread: bool) -> LabelledActivations:
        """Load all of them into memory, with the directions of each text's tokens where `spread` says so."""
        activations = self.store.load(self.ids, self.layers, self.read_position)
        found = self.store.load_spread(self.ids, self.layers) if spread else None
        return LabelledActivations(activations, self.positive, self.negative, self.groups, self.grades, found)


def runnable(corpus: Corpus, store: ActivationStore) -> Corpus:
    """Return the corpus without the texts that the model cannot run; its hash still says what was given."""
    if store.left_out.keys().isdisjoint(text.id for text in corpus.texts):
        return corpus
    return replace(corpus, texts=tuple(text for text in corpus.texts if text.id not in store.left_out))


def examples(corpus: Corpus, split: Split) -> list[CorpusText]:
    """Return the texts of one split that are an example of a concept."""
    return [text for text in corpus.texts if text.split == split and not text.neutral]


def judged_texts(
    readout: Readout, corpus: Corpus, store: ActivationStore, split: Split, *, layers: Sequence[int] | None = None
) -> JudgedTexts:
    """Return the examples of one split as the readout's method sees them: graded and with spread only in training.

    `layers` are other layers than the readout's. Texts that the model cannot run are left out; one that has not been captured
    raises `ActivationStoreError`.
    """
    said, texts, layers = readout.provenance, examples(runnable(corpus, store), split), layers or readout.layers
    graded, spread = said.graded and split == "train", said.estimator.get("aggregator") == "subspace"
    labelled = LabelledTexts(texts, readout.concepts, store, layers, said.read_position, graded=graded)
    data = labelled.whole(spread=spread)
    return JudgedTexts(read_parts(texts, readout), data, [text.id for text in texts])


def read_parts(texts: Iterable[CorpusText], readout: Readout) -> list[str]:
    """Return the texts as far as the model has read them, or a little further: baselines of words must not read more."""
    length = part_length(readout.provenance.capture.max_tokens)
    return [text.text[:length] for text in texts]


def neutral_activations(
    readout: Readout, corpus: Corpus, store: ActivationStore, *, layers: Sequence[int] | None = None
) -> Float[Tensor, "neutral layer d_model"]:
    """Return the activations of the neutral training texts."""
    ids = [text.id for text in runnable(corpus, store).texts if text.split == "train" and text.neutral]
    return store.load(ids, layers or readout.layers, readout.provenance.read_position)


def no_known_label(labels: Iterable[str], readout: Readout) -> InputError:
    """Return the mistake of texts that no concept of a readout labels."""
    return InputError(
        "no label of these texts is a concept of the readout",
        got=", ".join(sorted(labels)[:10]) or "no labels",
        need=", ".join(readout.concepts),
        remedy="label the texts with the readout's concepts",
    )
