"""`Corpus`, and the last steps of making one from any source: concepts with enough examples, order, hash, counts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from amygdala_tl.corpus.concepts import keep_sufficient
from amygdala_tl.corpus.hashing import corpus_sha256
from amygdala_tl.corpus.in_hand import table_in_hand, texts_in_hand
from amygdala_tl.corpus.labels import POLARITIES, SPLITS, Polarity
from amygdala_tl.corpus.merge import LabelledCorpusTexts
from amygdala_tl.corpus.reasons import NO_EXAMPLE, Tally
from amygdala_tl.errors import FitError
from amygdala_tl.records import CorpusText, Split


@dataclass(frozen=True, slots=True, repr=False)
class Corpus:
    """Unique texts with their labels.

    Attributes:
        concepts: concepts with enough examples, in the order of every concept axis.
        texts: sorted by id, so that a corpus does not depend on the order of its source.
        parameters: the options it was made with.
        dropped: reason -> how many nodes were left out for it.
        left_out: concept -> why it is not among `concepts`.
        sha256: of concepts, texts, labels and splits.
        examples: reason -> an example of what was left out.
        notices: what a user should know of how the source was read.
    """

    concepts: tuple[str, ...]
    texts: tuple[CorpusText, ...]
    parameters: Mapping[str, Any]
    dropped: Mapping[str, int]
    left_out: Mapping[str, str]
    sha256: str
    examples: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @classmethod
    def from_texts(cls, texts: Iterable[object], labels: Any, **options: Any) -> "Corpus":
        """Make a corpus from texts and labels in hand.

        Args:
            texts: what the model will read.
            labels: for each text a list of labels, one label, or None; or a 0/1 array or tensor [text, concept].
            options: `concepts`, `groups`, `heldout_fraction`, `min_examples`, `max_negative_mentions` and `seed`, see
                `amygdala_tl.corpus.in_hand.texts_in_hand`.

        Raises:
            InputError: lengths differ, a text or label is not a string, or a label is not among the concepts.
            CorpusError: no concept has enough examples.
        """
        return assemble_labelled(texts_in_hand(texts, labels, **options))

    @classmethod
    def from_dataframe(
        cls,
        frame: Any,
        *,
        text: str = "text",
        labels: str | Sequence[str] = "labels",
        group: str | None = None,
        **options: Any,
    ) -> "Corpus":
        """Make a corpus from a table (pandas, polars, or any mapping of names to columns).

        Args:
            frame: the table.
            text: the column of texts.
            labels: the column of labels (a list of labels or one label in each row), or several 0/1 columns named for concepts.
            group: the column of groups.
            options: as for `from_texts`.

        Raises:
            InputError: a column is missing; else as for `from_texts`.
            CorpusError: no concept has enough examples.
        """
        return assemble_labelled(table_in_hand(frame, text=text, labels=labels, group=group, **options))

    def __repr__(self) -> str:
        groups = len({text.group for text in self.texts})
        return f"Corpus({len(self.texts)} texts in {groups} groups, {len(self.concepts)} concepts: {', '.join(self.concepts)})"


def assemble(
    concepts: tuple[str, ...],
    texts: Iterable[CorpusText],
    *,
    parameters: Mapping[str, Any],
    tally: Tally,
    left_out: Mapping[str, str],
    notices: tuple[str, ...] = (),
) -> Corpus:
    """Return the corpus of these texts, sorted by id and hashed, without the reasons that dropped nothing."""
    ordered = tuple(sorted(texts, key=lambda text: text.id))
    return Corpus(
        concepts=concepts,
        texts=ordered,
        parameters=dict(parameters),
        dropped={reason: n for reason, n in tally.counts.items() if n},
        left_out=dict(left_out),
        sha256=corpus_sha256(concepts, ordered),
        examples=dict(tally.examples),
        notices=notices,
    )


def assemble_labelled(found: LabelledCorpusTexts) -> Corpus:
    """Return the corpus of labelled texts, without the concepts that have too few training examples.

    Raises:
        CorpusError: no concept has enough examples.
    """
    counts, least = _counts(found.concepts, found.texts), found.min_examples
    training = {concept: (count["train"]["positive"], count["train"]["negative"]) for concept, count in counts.items()}
    kept, left_out = keep_sufficient(training, min_examples=least, more_positives=found.more, more_negatives=found.more)
    enough, entering = frozenset(kept), []
    for text in found.texts:
        positive, negative = (tuple(one for one in names if one in enough) for names in (text.positive, text.negative))
        # A text that loses its last concept would pass for neutral, although it has labels.
        if text.neutral or positive or negative:
            entering.append(replace(text, positive=positive, negative=negative))
        else:
            found.tally.add(NO_EXAMPLE, text.text)
    return assemble(
        kept,
        entering,
        parameters={**found.parameters, "min_examples": least},
        tally=found.tally,
        left_out=left_out,
        notices=found.notices,
    )


def count_examples(corpus: Corpus) -> dict[str, dict[Split, dict[Polarity, int]]]:
    """Count the examples of every concept: concept -> split -> polarity -> texts."""
    return _counts(corpus.concepts, corpus.texts)


def _counts(concepts: Sequence[str], texts: Iterable[CorpusText]) -> dict[str, dict[Split, dict[Polarity, int]]]:
    found = Counter(
        (concept, text.split, side)
        for text in texts
        for side, names in zip(POLARITIES, (text.positive, text.negative), strict=True)
        for concept in names
    )
    return {
        concept: {split: {side: found[concept, split, side] for side in POLARITIES} for split in SPLITS}
        for concept in concepts
    }


def trainable_concepts(corpus: Corpus, min_examples: int) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the concepts with at least `min_examples` training texts of both classes, and why the others are left out.

    Raises:
        FitError: no concept has enough.
    """
    left_out: dict[str, str] = {}
    for concept, counts in count_examples(corpus).items():
        for side, count in counts["train"].items():
            if count < min_examples:
                left_out.setdefault(concept, f"{count} {side} training texts, need {min_examples}")
    if concepts := tuple(concept for concept in corpus.concepts if concept not in left_out):
        return concepts, left_out
    raise FitError(
        "no concept has enough examples",
        got="; ".join(f"{concept}: {why}" for concept, why in list(left_out.items())[:5]) or "no concepts",
        remedy="label more texts, or lower min_examples",
    )
