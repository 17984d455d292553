"""The concepts of a corpus: those requested or found, without those that have too few examples."""

from collections.abc import Mapping
from dataclasses import dataclass

from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.errors import CorpusError
from amygdala_tl.names import fold_name


@dataclass(frozen=True, slots=True)
class ExampleCount:
    """Training examples of one concept; `negative` is None if the positives alone rule the concept out."""

    positive: int
    negative: int | None


def wanted_concepts(tag_counts: Mapping[str, int], rules: LabelRules) -> tuple[str, ...]:
    """Return the concepts to try, alphabetically: the named ones and the N most common tags, or all tags.

    Args:
        tag_counts: folded tag -> number of texts with it; the alphabetically first name wins a tie.
        rules: `emotions` and `top_emotions`.
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
    left_out = {
        concept: reason
        for concept, count in sorted(counts.items())
        if (reason := _shortage(count, min_examples)) is not None
    }
    kept = tuple(concept for concept in sorted(counts) if concept not in left_out)
    if not kept:
        raise _none_left(counts, min_examples, more_positives, more_negatives)
    return kept, left_out


def _shortage(count: ExampleCount, need: int) -> str | None:
    found = (("positive", count.positive), ("negative", count.negative))
    short = [f"{n} {polarity}" for polarity, n in found if n is not None and n < need]
    return f"{' and '.join(short)} training texts, need {need}" if short else None


def _none_left(counts: Mapping[str, ExampleCount], need: int, more_positives: str, more_negatives: str) -> CorpusError:
    if not counts:
        return CorpusError("no concept has enough examples", got="no concepts at all", remedy=more_positives)
    best = max(sorted(counts), key=lambda concept: _closeness(counts[concept], need))
    count = counts[best]
    negatives = "" if count.negative is None else f" and {count.negative} negative"
    return CorpusError(
        "no concept has enough examples",
        got=f"at best {best} with {count.positive} positive{negatives} training texts, of {len(counts)} concepts",
        need=f"{need} positive and {need} negative training texts",
        remedy=f"{more_positives if count.positive < need else more_negatives}, or lower `min_examples` (now {need})",
    )


def _closeness(count: ExampleCount, need: int) -> tuple[int, int, int]:
    negative = count.negative or 0
    return min(count.positive, need), min(negative, need), count.positive + negative
