"""The concepts of a corpus that have enough training texts for a direction."""

from amygdala_tl.corpus.record import Corpus
from amygdala_tl.errors import FitError


def trainable_concepts(corpus: Corpus, min_examples: int) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the concepts with at least `min_examples` training texts of both classes, and why the others are left out.

    Raises:
        FitError: no concept has enough.
    """
    texts = [text for text in corpus.texts if text.split == "train"]
    left_out: dict[str, str] = {}
    for concept in corpus.concepts:
        for name, count in (
            ("positive", sum(concept in text.positive for text in texts)),
            ("negative", sum(concept in text.negative for text in texts)),
        ):
            if count < min_examples:
                left_out.setdefault(concept, f"{count} {name} training texts, need {min_examples}")
    concepts = tuple(concept for concept in corpus.concepts if concept not in left_out)
    if not concepts:
        raise FitError(
            "no concept has enough examples",
            got="; ".join(f"{concept}: {why}" for concept, why in list(left_out.items())[:5]) or "no concepts",
            remedy="label more texts, or lower min_examples",
        )
    return concepts, left_out
