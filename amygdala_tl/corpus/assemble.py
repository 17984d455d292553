"""The last steps of making a corpus from any source: concepts with enough examples, order, hash, counts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from amygdala_tl.corpus.concepts import ExampleCount, keep_sufficient
from amygdala_tl.corpus.hashing import corpus_sha256
from amygdala_tl.corpus.labels import Polarity
from amygdala_tl.records import Corpus, CorpusText, Split

NO_EXAMPLE = "no example of any concept"


def assemble(
    concepts: tuple[str, ...],
    texts: Iterable[CorpusText],
    *,
    parameters: Mapping[str, Any],
    dropped: Mapping[str, int],
    left_out: Mapping[str, str],
) -> Corpus:
    """Return the corpus of these texts, sorted by id and hashed, without the reasons that dropped nothing."""
    ordered = tuple(sorted(texts, key=lambda text: text.id))
    return Corpus(
        concepts=concepts,
        texts=ordered,
        parameters=dict(parameters),
        dropped={reason: n for reason, n in dropped.items() if n},
        left_out=dict(left_out),
        sha256=corpus_sha256(concepts, ordered),
    )


def assemble_labelled(
    concepts: Sequence[str],
    texts: Sequence[CorpusText],
    *,
    min_examples: int,
    more: str,
    parameters: Mapping[str, Any],
    dropped: Mapping[str, int],
) -> Corpus:
    """Return the corpus of labelled texts, without the concepts that have too few training examples.

    Args:
        concepts: all concepts that the texts may be examples of.
        texts: unique texts with all their labels.
        min_examples: training texts that a concept needs of each polarity.
        more: how a user gets more examples, for the error's remedy.
        parameters, dropped: what the corpus records of its making.

    Raises:
        CorpusError: no concept has enough examples.
    """
    training = [text for text in texts if text.split == "train"]
    positive = Counter(concept for text in training for concept in text.positive)
    negative = Counter(concept for text in training for concept in text.negative)
    kept, left_out = keep_sufficient(
        {concept: ExampleCount(positive[concept], negative[concept]) for concept in concepts},
        min_examples=min_examples,
        more_positives=more,
        more_negatives=more,
    )
    # A text that loses its last concept would pass for neutral, although it has labels.
    reduced = [(text, _only(text, frozenset(kept))) for text in texts]
    entering = [new for old, new in reduced if old.neutral or not new.neutral]
    return assemble(
        kept,
        entering,
        parameters={**parameters, "min_examples": min_examples},
        dropped=Counter(dropped) + Counter({NO_EXAMPLE: len(texts) - len(entering)}),
        left_out=left_out,
    )


def _only(text: CorpusText, concepts: frozenset[str]) -> CorpusText:
    positive, negative = (tuple(name for name in names if name in concepts) for names in (text.positive, text.negative))
    return replace(text, positive=positive, negative=negative)


def count_examples(corpus: Corpus) -> dict[str, dict[Split, dict[Polarity, int]]]:
    """Count the examples of every concept: concept -> split -> polarity -> texts."""
    counts: dict[str, dict[Split, dict[Polarity, int]]] = {
        concept: {"train": {"positive": 0, "negative": 0}, "heldout": {"positive": 0, "negative": 0}}
        for concept in corpus.concepts
    }
    for text in corpus.texts:
        for concept in text.positive:
            counts[concept][text.split]["positive"] += 1
        for concept in text.negative:
            counts[concept][text.split]["negative"] += 1
    return counts
