"""Nodes of a memory graph -> a corpus.

Nodes are sorted by key first, so the corpus does not depend on the server or its order. Then the steps are: drop other
types, split nodes into notes, cut off the tag lines, drop unusable texts (each counted with its reason), join near-duplicates,
split groups, label texts, leave out concepts with too few training examples, and choose the examples of the others.

The corpus holds every chosen example, every held-out tagged text (chosen or not, because the measure of a readout should
not depend on the choice), and every neutral text. Training texts without a label would only cost time in the model; they
are counted as "no example of any concept".
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from amygdala_tl.corpus.alike import group_near_duplicates
from amygdala_tl.corpus.concepts import ExampleCount, keep_sufficient, wanted_concepts
from amygdala_tl.corpus.grouping import group_of, split_of
from amygdala_tl.corpus.hashing import choose, text_id
from amygdala_tl.corpus.labels import POLARITIES, SPLITS, LabelRules, Polarity, polarity
from amygdala_tl.corpus.reasons import (
    BEHIND_TAGS,
    DUPLICATE,
    NO_EXAMPLE,
    NO_TEXT,
    NOT_UNICODE,
    OTHER_TYPE,
    SCORE_IGNORED,
    UNREAD_TAGS,
    Tally,
    shortened,
    unusable,
)
from amygdala_tl.corpus.record import Corpus, assemble
from amygdala_tl.errors import CorpusError, InputError
from amygdala_tl.memory.notes import Note, known_names, split_notes
from amygdala_tl.records import CorpusText, Node, Split

ALIASES: Mapping[str, tuple[str, ...]] = {
    "journal": ("episodicSession",),
    "digest": ("episodicDaily", "episodicWeekly"),
    "pattern": ("semantic",),
}

_Pools = Mapping[tuple[str, Polarity, Split], Sequence[str]]


def build_corpus(nodes: Iterable[Node], rules: LabelRules) -> Corpus:
    """Make a corpus from the nodes of a memory graph.

    `dropped` counts notes by reason, with one exception: "score outside 0-10 (ignored)" counts scores.

    Raises:
        CorpusError: no note has a tag line, no tagged text is usable, or no concept has enough examples.
        InputError: no node has a type that `rules.node_types` names.
    """
    ordered = sorted(nodes, key=lambda node: (node.key, node.kind, node.content))
    tally = Tally()
    found = _usable_texts(ordered, rules, tally)
    texts, notices = group_near_duplicates(found, heldout_fraction=rules.heldout_fraction, seed=rules.seed)
    tagged = [text for text in texts if text.scores]
    if not tagged:
        raise CorpusError(
            "no tagged text is usable",
            got=", ".join(tally.lines()),
            remedy="check `min_content_chars`, and that the scores lie in 0-10",
        )
    tag_counts = Counter(tag for text in tagged for tag in text.scores)
    wanted = wanted_concepts(tag_counts, rules)
    pools = _pools(tagged, wanted, rules)
    try:
        concepts, left_out = _sufficient(pools, wanted, rules)
    except CorpusError as error:
        if not (lost := "; ".join(tally.lines())):
            raise
        got = f"{error.got}; left out: {lost}"
        raise CorpusError(error.what, got=got, need=error.need, remedy=error.remedy) from error
    labels = _chosen_labels(concepts, pools, rules)
    kept = [
        replace(text, positive=tuple(labels[text.id, "positive"]), negative=tuple(labels[text.id, "negative"]))
        for text in texts
    ]
    entering = [text for text in kept if text.positive or text.negative or text.split == "heldout" or text.neutral]
    enters = {text.id for text in entering}
    for text in kept:
        if text.id not in enters:
            tally.add(NO_EXAMPLE, text.text)
    # As plain JSON values, so that a corpus read back from disk equals the one written.
    parameters = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(rules).items()}
    return assemble(concepts, entering, parameters=parameters, tally=tally, left_out=left_out, notices=tuple(notices))


def _usable_texts(nodes: Sequence[Node], rules: LabelRules, tally: Tally) -> list[CorpusText]:
    """Return the unique, sufficiently long texts of the chosen types with scores, groups and splits, but without labels."""
    kinds = matching_kinds(rules.node_types, {node.kind for node in nodes})
    known = known_names(node.content for node in nodes)
    texts: dict[str, CorpusText] = {}
    tag_lines = 0
    for node in nodes:
        if node.kind not in kinds:
            tally.add(OTHER_TYPE, f"{node.key}: {node.kind}")
            continue
        for note in split_notes(node.content, known):
            tag_lines += note.tags is not None
            if _is_usable(note, node.key, rules, tally):
                identity = text_id(note.text)
                if identity in texts:
                    tally.add(DUPLICATE, f"{node.key}: {note.text}")
                else:
                    texts[identity] = _unlabelled(note, node.key, identity, rules)
    if not tag_lines:
        raise _no_tags(nodes, tally)
    return list(texts.values())


def _is_usable(note: Note, key: str, rules: LabelRules, tally: Tally) -> bool:
    if note.fault:
        tally.add(UNREAD_TAGS if note.fault == "unread" else BEHIND_TAGS, f"{key}: {note.example}")
        return False
    scoreless = note.tags is not None and not note.tags.scores
    if note.tags is not None:
        tally.add(SCORE_IGNORED, f"{key}: {' '.join(note.tags.ignored)}", count=len(note.tags.ignored))
        if not note.text and not scoreless:
            tally.add(NO_TEXT, f"{key}: {' '.join(note.tags.scores)}")
            return False
    reason = unusable(note.text, key=key, min_chars=rules.min_content_chars, scoreless=scoreless)
    if reason is not None:
        tally.add(reason, ascii(f"{key}: {note.text}") if reason == NOT_UNICODE else f"{key}: {note.text}")
    return reason is None


def _unlabelled(note: Note, key: str, identity: str, rules: LabelRules) -> CorpusText:
    scores = {} if note.tags is None else {name: float(score) for name, score in note.tags.scores.items()}
    group = group_of(key, note.text)
    split = split_of(group, heldout_fraction=rules.heldout_fraction, seed=rules.seed)
    return CorpusText(identity, note.text, group, split, scores, positive=(), negative=())


def _no_tags(nodes: Sequence[Node], tally: Tally) -> CorpusError:
    others = f", and {tally.counts[OTHER_TYPE]} of other types" if tally.counts[OTHER_TYPE] else ""
    ends = (line for node in nodes for line in node.content.strip().splitlines()[-1:])
    end = tally.examples.get(UNREAD_TAGS) or next(ends, None)
    return CorpusError(
        "no tags found",
        got=f"{len(nodes) - tally.counts[OTHER_TYPE]} nodes read, none with a tag line{others}"
        + (f"; one ends in: {shortened(end)}" if end else ""),
        need="a last line such as `warmth:9 clarity:10`",
        remedy="check that the notes of this graph end in tag lines",
    )


def _pools(tagged: Sequence[CorpusText], wanted: Sequence[str], rules: LabelRules) -> _Pools:
    """Return all examples of every concept by polarity and split, before the choice.

    Only concepts with enough positives get negatives, since a graph can have thousands of tags that occur once.
    """
    pools: dict[tuple[str, Polarity, Split], list[str]] = defaultdict(list)
    tried = set(wanted)
    for text in tagged:
        for concept in tried & text.scores.keys():
            if polarity(concept, text.text, text.scores, rules) == "positive":
                pools[concept, "positive", text.split].append(text.id)
    promising = [c for c in wanted if len(pools[c, "positive", "train"]) >= rules.min_examples]
    for text in tagged:
        for concept in promising:
            if polarity(concept, text.text, text.scores, rules) == "negative":
                pools[concept, "negative", text.split].append(text.id)
    return pools


def _sufficient(pools: _Pools, wanted: Sequence[str], rules: LabelRules) -> tuple[tuple[str, ...], dict[str, str]]:
    def count(concept: str) -> ExampleCount:
        positive = len(pools.get((concept, "positive", "train"), ()))
        negative = len(pools.get((concept, "negative", "train"), ()))
        return positive, negative if positive >= rules.min_examples else None

    return keep_sufficient(
        {concept: count(concept) for concept in wanted},
        min_examples=rules.min_examples,
        more_positives=f"lower `min_positive_score` (now {rules.min_positive_score:g})",
        more_negatives=(
            f"raise `max_negative_score` (now {rules.max_negative_score:g})"
            f" or `max_negative_mentions` (now {rules.max_negative_mentions})"
        ),
    )


def _chosen_labels(
    concepts: Sequence[str], pools: _Pools, rules: LabelRules
) -> Mapping[tuple[str, Polarity], Sequence[str]]:
    """Map (text id, polarity) to the concepts, in their order, for which this text is a chosen example."""
    labels: Mapping[tuple[str, Polarity], list[str]] = defaultdict(list)
    limit = rules.max_examples_per_emotion
    for concept, side, split in itertools.product(concepts, POLARITIES, SPLITS):
        ids = pools.get((concept, side, split), ())
        for identity in choose(ids, concept=concept, polarity=side, limit=limit, seed=rules.seed):
            labels[identity, side].append(concept)
    return labels


def matching_kinds(node_types: Collection[str] | None, kinds: Collection[str]) -> frozenset[str]:
    """Return those type names of the graph, `kinds`, that match the requested ones, in any case, directly or through `ALIASES`.

    None requests all. An empty graph matches nothing and raises nothing.

    Raises:
        InputError: a requested name matches no type of the graph.
    """
    if node_types is None or not kinds:
        return frozenset(kinds)
    matched: set[str] = set()
    for name in node_types:
        wanted = {name.strip().casefold()} | {kind.casefold() for kind in ALIASES.get(name.strip().casefold(), ())}
        found = {kind for kind in kinds if kind.casefold() in wanted}
        if not found:
            raise InputError(
                "no node of the graph is of this type",
                label=f"node_types {name}",
                got=", ".join(sorted(kind or '""' for kind in kinds)),
                remedy=f"use types of this graph, or {', '.join(ALIASES)} where it has their types",
            )
        matched |= found
    return frozenset(matched)
