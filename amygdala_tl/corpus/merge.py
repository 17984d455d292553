"""Sightings of texts, from any source -> unique texts with all their labels, groups and sides.

A text that comes twice enters once, with the union of its labels and the first of its groups. Where labels are complete, a text
is a negative of every concept that it neither has nor mentions by name. Near-duplicates become one group (`alike.py`).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amygdala_tl.corpus.alike import group_near_duplicates
from amygdala_tl.corpus.grouping import split_of
from amygdala_tl.corpus.hashing import text_id
from amygdala_tl.corpus.labels import count_mentions
from amygdala_tl.corpus.reasons import DUPLICATE, NO_EXAMPLE, NOT_UNICODE, Tally, shortened, unusable
from amygdala_tl.corpus.sighting import Sighting, Source
from amygdala_tl.errors import CorpusError
from amygdala_tl.records import CorpusText

OTHER_LABELS = "only labels that the readout lacks"


@dataclass(frozen=True, slots=True)
class Merge:
    """How sightings become texts: the parameters of a corpus that do not depend on its source."""

    heldout_fraction: float
    seed: int
    max_negative_mentions: int = 0


@dataclass(frozen=True, slots=True)
class LabelledCorpusTexts:
    """Unique texts with all their labels, before concepts with too few training texts of a polarity are left out.

    Attributes:
        more: how a user gets more examples, for an error's remedy.
        parameters, tally, notices: what the corpus records of its making.
    """

    concepts: Sequence[str]
    texts: Sequence[CorpusText]
    min_examples: int
    more: str
    parameters: Mapping[str, Any]
    tally: Tally
    notices: tuple[str, ...] = ()


def merged(
    source: Source, how: Merge, *, among: Collection[str] | None = None
) -> tuple[list[CorpusText], tuple[str, ...]]:
    """Return the unique texts of a source, and what to tell the user; `source.tally` counts what is left out.

    Args:
        source: sightings with folded labels.
        how: split and negatives.
        among: the only labels that count, for texts that judge a readout. A text with another label keeps those that it
            shares, but is a negative of nothing by omission: the other label may be a second name of a concept.

    Raises:
        CorpusError: a text is both positive and negative of one concept; the error names both places.
    """
    concepts = sorted(source.concepts if among is None else source.concepts & frozenset(among))
    others: Counter[str] = Counter()
    seen: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in source.sightings:
        if reason := unusable(sighting.text):
            source.tally.add(reason, ascii(sighting.text) if reason == NOT_UNICODE else sighting.place)
        else:
            seen[sighting.text].append(sighting)
    texts = []
    for text, sightings in sorted(seen.items()):
        source.tally.add(DUPLICATE, text, count=len(sightings) - 1)
        foreign = {label for each in sightings for label in each.positive}.difference(concepts)
        others.update(foreign)
        positive, negative, labelled = _labels(text, sightings, concepts, how, omissions=not foreign)
        if labelled and not positive and not negative:
            source.tally.add(OTHER_LABELS if foreign else NO_EXAMPLE, text)  # it would pass for neutral
        else:
            groups = sorted(each.group for each in sightings if each.group is not None)
            texts.append(_text(text, groups, positive, negative, how))
    texts, notices = group_near_duplicates(texts, heldout_fraction=how.heldout_fraction, seed=how.seed)
    if others:
        named = ", ".join(f"{shortened(label)} ({count})" for label, count in others.most_common(10))
        notices.append(f"labels that the readout lacks: {named}; a text with one of them is a negative of nothing")
    return texts, (*source.notices, *notices)


def _labels(
    text: str, sightings: Sequence[Sighting], concepts: Sequence[str], how: Merge, *, omissions: bool
) -> tuple[set[str], set[str], bool]:
    """Return the concepts that a text has, those that it lacks, and whether anything is known of it."""
    places = {label: each.place for each in sightings for label in each.positive}
    positive = places.keys() & set(concepts)
    negative: set[str] = set()
    for each in sightings:
        if both := sorted(places.keys() & set(each.negative)):
            what, got = (
                f"the same text is a positive and a negative of {shortened(both[0])}",
                f"the negative is {each.place}",
            )
            raise CorpusError(what, label=places[both[0]], got=got, remedy="remove one of the two")
        negative |= set(each.negative) & set(concepts)
    complete = any(each.complete for each in sightings)
    if complete and omissions:
        negative |= {name for name in concepts if name not in positive and not _mentions(text, name, how)}
    return positive, negative, complete or bool(places) or any(each.negative for each in sightings)


def _mentions(text: str, name: str, how: Merge) -> bool:
    """Say whether a text names a concept too often to be its negative. Numbers do not count as names."""
    return not name.isdecimal() and count_mentions(text, name) > how.max_negative_mentions


def _text(text: str, groups: Sequence[str], positive: Iterable[str], negative: Iterable[str], how: Merge) -> CorpusText:
    identity = text_id(text)
    group = groups[0] if groups else identity
    split = split_of(group, heldout_fraction=how.heldout_fraction, seed=how.seed)
    return CorpusText(identity, text, group, split, {}, tuple(sorted(positive)), tuple(sorted(negative)))
