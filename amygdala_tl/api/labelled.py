"""Texts of a corpus joined with their activations in a store."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.activations.mapped import mapped
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.domains import domains_of, shared_concepts
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.diagnostics.diagnose import method_of
from amygdala_tl.diagnostics.evaluation import JudgedTexts
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.labels import grade_matrix, group_numbers, label_matrix
from amygdala_tl.errors import InputError
from amygdala_tl.lens.tokenize import part_length
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import CorpusText, ReadPosition, Split

PART_NUMBERS = 2**25
"""Bound on the size of a part: 128 MB. Larger parts make second moments faster, for each one adds to whole matrices."""

FEWEST, MOST = 256, 4096
"""Bounds on the number of texts in a part, whatever the size of their activations."""

COMPARED = 10_000
"""Number of texts that methods are compared on; more would change no choice, and some methods take minutes for each."""


class StoredTexts:
    """Labelled texts with activations that stay in the store until they are asked for, in parts or all at once.

    It fulfils `directions.data.LabelledTexts`.
    """

    def __init__(
        self,
        texts: Sequence[CorpusText],
        concepts: Sequence[str],
        store: ActivationStore,
        layers: Sequence[int],
        read_position: ReadPosition,
        *,
        graded: bool,
        spread: bool = False,
    ) -> None:
        """Read the labels.

        Args:
            texts, concepts: labelled texts, and the concepts to label them with.
            store, layers, read_position: their activations.
            graded: also read the tags' scores.
            spread: `whole` also loads the directions of each text's tokens.
        """
        self.ids = [text.id for text in texts]
        self.store, self.layers, self.read_position, self.spread = store, layers, read_position, spread
        self.positive = label_matrix([text.positive for text in texts], concepts)
        self.negative = label_matrix([text.negative for text in texts], concepts)
        self.groups = group_numbers([text.group for text in texts])
        self.grades = grade_matrix(texts, concepts) if graded else None

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def d_model(self) -> int:
        """Number of coordinates."""
        return self.store.info.d_model

    def passes(
        self, layer: int | None = None, rows: Int[Tensor, " row"] | None = None
    ) -> Iterator[tuple[Int[Tensor, " _"], LabelledActivations]]:
        """Pass over the store once, in parts (see `directions.data.LabelledTexts`)."""
        layers = self.layers if layer is None else self.layers[layer : layer + 1]
        chosen = torch.arange(len(self.ids)) if rows is None else rows
        size = max(FEWEST, min(MOST, PART_NUMBERS // (len(layers) * self.d_model)))
        ids = [self.ids[row] for row in chosen.tolist()]
        for places, activations in self.store.batches(ids, layers, self.read_position, size=size):
            some = chosen[places]
            grades = None if self.grades is None else self.grades[some]
            labels = self.positive[some], self.negative[some], self.groups[some]
            yield some, LabelledActivations(activations, *labels, grades)

    def parts(self) -> Iterator[LabelledActivations]:
        """Pass over the store once, and yield the parts without their rows."""
        return (part for _, part in self.passes())

    def sample(self) -> LabelledActivations:
        """Load the texts that methods are compared on: all, or those with the lowest ids."""
        kept = set(some_of(self.ids))
        rows = torch.tensor([row for row, name in enumerate(self.ids) if name in kept])
        activations = self.store.load([self.ids[row] for row in rows.tolist()], self.layers, self.read_position)
        grades = None if self.grades is None else self.grades[rows]
        return LabelledActivations(activations, self.positive[rows], self.negative[rows], self.groups[rows], grades)

    def whole(self, layer: int | None = None) -> LabelledActivations:
        """Load all texts, with their directions of tokens if these were asked for; large ones are memory-mapped."""
        layers = self.layers if layer is None else self.layers[layer : layer + 1]
        activations = mapped(len(self.ids), len(layers), self.d_model)
        for rows, part in self.passes(layer):
            activations[rows] = part.activations
        found = self.store.load_spread(self.ids, layers) if self.spread else None
        return LabelledActivations(activations, self.positive, self.negative, self.groups, self.grades, found)


def group_by_domain(texts: StoredTexts, corpus: Corpus) -> bool:
    """Make each domain of a joined corpus one group, so that what is chosen on the texts holds on a domain left out.

    Any other corpus keeps its groups, and so does one whose domains share no concept. Returns whether the groups changed.
    """
    domains = domains_of(corpus) if shared_concepts(corpus) else {}
    if domains:
        texts.groups = group_numbers([domains[name] for name in texts.ids])
    return bool(domains)


def some_of(ids: Sequence[str]) -> list[str]:
    """Return at most `COMPARED` of the ids, in their order.

    They are the lowest ones: ids are hashes, so their order is chance.
    """
    kept = set(sorted(ids)[:COMPARED])
    return [name for name in ids if name in kept]


def runnable(corpus: Corpus, store: ActivationStore) -> Corpus:
    """Return the corpus without the texts that the model cannot run; its hash still says what was given."""
    if store.left_out.keys().isdisjoint(text.id for text in corpus.texts):
        return corpus
    return replace(corpus, texts=tuple(text for text in corpus.texts if text.id not in store.left_out))


def examples(corpus: Corpus, split: Split) -> list[CorpusText]:
    """Return the texts of one split that are an example of a concept."""
    return [text for text in corpus.texts if text.split == split and not text.neutral]


def judged_texts(
    readout: Readout,
    corpus: Corpus,
    store: ActivationStore,
    split: Split,
    *,
    layers: Sequence[int] | None = None,
    by_domain: bool = False,
) -> JudgedTexts:
    """Return the examples of one split as the readout's method sees them: graded and with spread only in training.

    Their activations stay in the store until they are asked for.

    `layers` are other layers than the readout's; `by_domain` makes each domain of a joined corpus one group. Texts that the
    model cannot run are left out; one that has not been captured raises `ActivationStoreError`.
    """
    said, texts, layers = readout.provenance, examples(runnable(corpus, store), split), layers or readout.layers
    graded, spread = said.graded and split == "train", said.estimator.get("aggregator") == "subspace"
    data = StoredTexts(texts, readout.concepts, store, layers, said.read_position, graded=graded, spread=spread)
    if by_domain:
        group_by_domain(data, corpus)
    ids = [text.id for text in texts]
    counts = store.load_counts(ids, layers) if said.read_position == "pooled" else None
    return JudgedTexts(read_parts(texts, readout), data, ids, counts)


def read_parts(texts: Iterable[CorpusText], readout: Readout) -> list[str]:
    """Return the texts as far as the model has read them, or a little further: baselines of words must not read more."""
    length = part_length(readout.provenance.capture.max_tokens)
    return [text.text[:length] for text in texts]


def neutral_activations(
    readout: Readout, corpus: Corpus, store: ActivationStore, *, layers: Sequence[int] | None = None
) -> Float[Tensor, "neutral layer d_model"]:
    """Return the activations of the neutral training texts, for denoisers; of none if the method needs none.

    Of those that only serve the comparison of methods there are as many as `fit` takes.
    """
    ids = [text.id for text in runnable(corpus, store).texts if text.split == "train" and text.neutral]
    if method_of(readout).streamable:
        compared = "chosen_from" in readout.provenance.estimator
        ids = some_of(ids) if compared else []
    return store.load(ids, layers or readout.layers, readout.provenance.read_position)


def no_known_label(labels: Iterable[str], readout: Readout) -> InputError:
    """Return the mistake of texts that no concept of a readout labels."""
    return InputError(
        "no label of these texts is a concept of the readout",
        got=", ".join(sorted(labels)[:10]) or "no labels",
        need=", ".join(readout.concepts),
        remedy="label the texts with the readout's concepts",
    )
