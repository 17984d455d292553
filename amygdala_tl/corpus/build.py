"""Nodes of a memory graph -> a corpus.

Nodes are sorted by key first, so the corpus does not depend on the server or its order. Then the steps are: drop other
types, cut off the tag line, drop unusable texts (each counted with its reason), split groups, label texts, leave out
concepts with too few training examples, and choose the examples of the others.

The corpus holds every chosen example, every held-out tagged text (chosen or not, because the measure of a readout should
not depend on the choice), and every neutral text. Training texts without a label would only cost time in the model; they
are counted as "no example of any concept".
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from amygdala_tl.corpus.concepts import ExampleCount, keep_sufficient, wanted_concepts
from amygdala_tl.corpus.grouping import group_of, split_of
from amygdala_tl.corpus.hashing import choose, text_id
from amygdala_tl.corpus.labels import POLARITIES, SPLITS, LabelRules, Polarity, polarity
from amygdala_tl.corpus.reasons import DUPLICATE, NO_EXAMPLE, OTHER_TYPE, SCORE_IGNORED, unusable
from amygdala_tl.corpus.record import Corpus, assemble
from amygdala_tl.errors import CorpusError, InputError
from amygdala_tl.memory.tags import split_tag_line
from amygdala_tl.records import CorpusText, Node, Split

ALIASES: Mapping[str, tuple[str, ...]] = {
    "journal": ("episodicSession",),
    "digest": ("episodicDaily", "episodicWeekly"),
    "pattern": ("semantic",),
}

_Pools = Mapping[tuple[str, Polarity, Split], Sequence[str]]


def build_corpus(nodes: Iterable[Node], rules: LabelRules) -> Corpus:
    """Make a corpus from the nodes of a memory graph.

    `dropped` counts nodes by reason, with one exception: "score outside 0-10 (ignored)" counts scores.

    Raises:
        CorpusError: no node has a tag line, no tagged text is usable, or no concept has enough examples.
        InputError: no node has a type that `rules.node_types` names.
    """
    ordered = sorted(nodes, key=lambda node: (node.key, node.kind, node.content))
    dropped: Counter[str] = Counter()
    texts = _usable_texts(ordered, rules, dropped)
    tagged = [text for text in texts if text.scores]
    if not tagged:
        raise CorpusError(
            "no tagged text is usable",
            got=", ".join(f"{reason}: {n}" for reason, n in dropped.items() if n),
            remedy="check `min_content_chars`, and that the scores lie in 0-10",
        )
    tag_counts = Counter(tag for text in tagged for tag in text.scores)
    wanted = wanted_concepts(tag_counts, rules)
    pools = _pools(tagged, wanted, rules)
    concepts, left_out = _sufficient(pools, wanted, rules)
    labels = _chosen_labels(concepts, pools, rules)
    kept = [
        replace(text, positive=tuple(labels[text.id, "positive"]), negative=tuple(labels[text.id, "negative"]))
        for text in texts
    ]
    entering = [text for text in kept if text.positive or text.negative or text.split == "heldout" or text.neutral]
    dropped[NO_EXAMPLE] = len(kept) - len(entering)
    # As plain JSON values, so that a corpus read back from disk equals the one written.
    parameters = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(rules).items()}
    return assemble(concepts, entering, parameters=parameters, dropped=dropped, left_out=left_out)


def _usable_texts(nodes: Sequence[Node], rules: LabelRules, dropped: Counter[str]) -> list[CorpusText]:
    """Return the unique, sufficiently long texts of the chosen types with scores, groups and splits, but without labels."""
    kinds = matching_kinds(rules.node_types, {node.kind for node in nodes})
    texts: dict[str, CorpusText] = {}
    tag_lines = 0
    for node in nodes:
        if node.kind not in kinds:
            dropped[OTHER_TYPE] += 1
            continue
        content, tag_line = split_tag_line(node.content)
        text = content.strip()
        scores: dict[str, float] = {}
        if tag_line is not None:
            tag_lines += 1
            scores = {name: float(score) for name, score in tag_line.scores.items()}
            dropped[SCORE_IGNORED] += len(tag_line.ignored)
        scoreless = tag_line is not None and not scores
        if reason := unusable(text, key=node.key, min_chars=rules.min_content_chars, scoreless=scoreless):
            dropped[reason] += 1
            continue
        identity = text_id(text)
        if identity in texts:
            dropped[DUPLICATE] += 1
            continue
        group = group_of(node.key)
        split = split_of(group, heldout_fraction=rules.heldout_fraction, seed=rules.seed)
        texts[identity] = CorpusText(identity, text, group, split, scores, positive=(), negative=())
    if not tag_lines:
        others = f", and {dropped[OTHER_TYPE]} of other types" if dropped[OTHER_TYPE] else ""
        raise CorpusError(
            "no tags found",
            got=f"{len(nodes) - dropped[OTHER_TYPE]} nodes read, none with a tag line{others}",
            need="a last line such as `warmth:9 clarity:10`",
            remedy="check that this is the graph whose notes end in tag lines",
        )
    return list(texts.values())


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
