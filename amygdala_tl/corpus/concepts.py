"""The concepts of a corpus: those requested or found, without those that have too few examples."""

from collections.abc import Mapping

from amygdala_tl.corpus.labels import POLARITIES, LabelRules
from amygdala_tl.errors import CorpusError
from amygdala_tl.names import fold_name

ExampleCount = tuple[int, int | None]
"""Positive and negative training examples of one concept; no negatives are counted if the positives rule it out."""


def wanted_concepts(tag_counts: Mapping[str, int], rules: LabelRules) -> tuple[str, ...]:
    """Return the concepts to try, alphabetically: those of `emotions` and the `top_emotions` most common tags, or all tags.

    The tags are folded, each with its number of texts; the alphabetically first wins a tie.
    """
    if rules.emotions is None and rules.top_emotions is None:
        return tuple(sorted(tag_counts))
    wanted = {fold_name(name) for name in rules.emotions or ()}
    if rules.top_emotions is not None:
        wanted |= set(sorted(tag_counts, key=lambda tag: (-tag_counts[tag], tag))[: rules.top_emotions])
    return tuple(sorted(wanted))


def keep_sufficient(
    counts: Mapping[str, ExampleCount], *, min_examples: int, more_positives: str, more_negatives: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Separate concepts with enough training examples, alphabetically, from the others with the reason.

    Args:
        counts: training examples of every concept.
        min_examples: training texts that a concept needs of each polarity.
        more_positives, more_negatives: how a user gets more examples, for the error's remedy.

    Raises:
        CorpusError: no concept has enough; the error names the closest one.
    """
    left_out: dict[str, str] = {}
    for concept, found in sorted(counts.items()):
        short = [f"{n} {side}" for side, n in zip(POLARITIES, found, strict=True) if n is not None and n < min_examples]
        if short:
            left_out[concept] = f"{' and '.join(short)} training texts, need {min_examples}"
    if kept := tuple(concept for concept in sorted(counts) if concept not in left_out):
        return kept, left_out
    what = "no concept has enough examples"
    if not counts:
        raise CorpusError(what, got="no concepts at all", remedy=more_positives)

    def closeness(concept: str) -> tuple[int, int, int]:
        positive, negative = counts[concept][0], counts[concept][1] or 0
        return min(positive, min_examples), min(negative, min_examples), positive + negative

    best = max(sorted(counts), key=closeness)
    positive, negative = counts[best]
    negatives = "" if negative is None else f" and {negative} negative"
    more = more_positives if positive < min_examples else more_negatives
    raise CorpusError(
        what,
        got=f"at best {best} with {positive} positive{negatives} training texts, of {len(counts)} concepts",
        need=f"{min_examples} positive and {min_examples} negative training texts",
        remedy=f"{more}, or lower `min_examples` (now {min_examples})",
    )
