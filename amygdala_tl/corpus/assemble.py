"""The last step of making a corpus, whatever it was made from: order, hash, count."""

from collections.abc import Iterable, Mapping
from typing import Any

from amygdala_tl.corpus.hashing import corpus_sha256
from amygdala_tl.corpus.labels import Polarity
from amygdala_tl.records import Corpus, CorpusText, Split


def assemble(
    concepts: tuple[str, ...],
    texts: Iterable[CorpusText],
    *,
    parameters: Mapping[str, Any],
    dropped: Mapping[str, int],
    left_out: Mapping[str, str],
) -> Corpus:
    """Return the corpus of these texts, sorted by id and hashed; reasons that dropped nothing are left away."""
    ordered = tuple(sorted(texts, key=lambda text: text.id))
    return Corpus(
        concepts=concepts,
        texts=ordered,
        parameters=dict(parameters),
        dropped={reason: n for reason, n in dropped.items() if n},
        left_out=dict(left_out),
        sha256=corpus_sha256(concepts, ordered),
    )


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
