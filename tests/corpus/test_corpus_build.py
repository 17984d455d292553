"""Graphs of generated notes, so that every property is checked against a naive reading of the contract."""

import dataclasses
import hashlib
import json
from collections import defaultdict
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.corpus import LabelRules, build_corpus, count_examples
from amygdala_tl.corpus.hashing import choose, text_id
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.errors import CorpusError, InputError
from amygdala_tl.records import CorpusText, Node

CONCEPTS = ("calm", "grief", "joy", "warmth")
LOOSE = LabelRules(min_examples=1, min_content_chars=10)


def note(number: int, tags: str, *, kind: str = "episodicSession", day: int | None = None, text: str = "") -> Node:
    key = f"journal-2031-{1 + (day or 0) // 28:02}-{1 + (day or 0) % 28:02}.md#{number}"
    text = text or f"Note number {number}: the kettle, the rain, and a long walk to the harbour and back."
    return Node(key if day is not None else f"document-{number}.md#x", kind, f"{text}\n\n{tags}".rstrip())


def graph(size: int = 60) -> list[Node]:
    """Half tagged joy, half grief, a few scores between, one in ten untagged."""
    tags = ["joy:9", "grief:8", "joy:10 calm:4", "grief:9, calm:8", "joy:8 grief:0"]
    return [note(i, "" if i % 10 == 9 else tags[i % 5], day=i // 2) for i in range(size)]


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    scores = st.dictionaries(st.sampled_from(CONCEPTS), st.sampled_from([0, 3, 7.5, 8, 10]), max_size=3)
    notes = draw(st.lists(st.tuples(scores, st.integers(0, 8), st.sampled_from(["", " No warmth."])), max_size=25))
    return [
        note(i, " ".join(f"{name}:{score}" for name, score in tags.items()), day=day, text=f"Note {i}, plain.{more}")
        for i, (tags, day, more) in enumerate(notes)
    ]


def built_or_none(nodes: list[Node], rules: LabelRules) -> Corpus | None:
    try:
        return build_corpus(nodes, rules)
    except CorpusError:
        return None


def chosen(corpus: Corpus) -> set[tuple[str, str, str]]:
    return {(c, "+", t.id) for t in corpus.texts for c in t.positive} | {
        (c, "-", t.id) for t in corpus.texts for c in t.negative
    }


@given(graphs())
def test_labels_are_those_of_a_naive_reading_of_the_contract(nodes: list[Node]) -> None:
    corpus = built_or_none(nodes, LOOSE)
    if corpus is None:
        return
    for text in corpus.texts:
        named = "warmth" in text.text
        assert text.id == hashlib.sha256(text.text.encode()).hexdigest()
        assert ":" not in text.text
        assert list(text.positive) == [c for c in corpus.concepts if text.scores.get(c, 0) >= 8]
        assert list(text.negative) == [
            c for c in corpus.concepts if text.scores and text.scores.get(c, 0) == 0 and not (c == "warmth" and named)
        ]


@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_does_not_matter(nodes: list[Node], random: object) -> None:
    rules = dataclasses.replace(LOOSE, max_examples_per_emotion=2)
    shuffled = list(nodes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert built_or_none(nodes, rules) == built_or_none(shuffled, rules)


@given(graphs(), st.floats(0.1, 0.9), st.integers(0, 3))
def test_no_group_is_on_both_sides_of_the_split(nodes: list[Node], fraction: float, seed: int) -> None:
    corpus = built_or_none(nodes, dataclasses.replace(LOOSE, heldout_fraction=fraction, seed=seed))
    sides: dict[str, set[str]] = defaultdict(set)
    for text in corpus.texts if corpus is not None else ():
        sides[text.group].add(text.split)
    assert all(len(side) == 1 for side in sides.values())


@given(graphs())
def test_every_node_is_in_the_corpus_or_counted_as_dropped(nodes: list[Node]) -> None:
    corpus = built_or_none(nodes, LOOSE)
    if corpus is not None:
        assert len(corpus.texts) + sum(corpus.dropped.values()) == len(nodes)


@given(graphs(), st.integers(1, 3))
def test_the_cap_holds_for_each_concept_polarity_and_split(nodes: list[Node], cap: int) -> None:
    corpus = built_or_none(nodes, dataclasses.replace(LOOSE, max_examples_per_emotion=cap, heldout_fraction=0.5))
    full = built_or_none(nodes, dataclasses.replace(LOOSE, heldout_fraction=0.5))
    if corpus is None or full is None:
        assert corpus is full
        return
    limited, whole = count_examples(corpus), count_examples(full)
    for concept in corpus.concepts:
        for split in ("train", "heldout"):
            for side in ("positive", "negative"):
                assert limited[concept][split][side] == min(cap, whole[concept][split][side])


@cache
def capped(cap: int) -> tuple[LabelRules, Corpus]:
    """Rules with a cap, and the corpus of `graph` by them."""
    rules = LabelRules(max_examples_per_emotion=cap, emotions=("joy", "grief"))
    return rules, build_corpus(graph(), rules)


@settings(max_examples=50)
@given(added=st.lists(st.sampled_from(["joy:9", "grief:9", "calm:9 joy:2", ""]), max_size=6), cap=st.integers(5, 12))
def test_adding_nodes_displaces_at_most_as_many_choices_as_there_are_nodes(added: list[str], cap: int) -> None:
    rules, before = capped(cap)
    nodes = graph()
    after = build_corpus(nodes + [note(1000 + i, tags, day=i) for i, tags in enumerate(added)], rules)
    old_ids = {text_id(node.content.split("\n")[0]) for node in nodes}
    lost = chosen(before) - chosen(after)
    for concept in before.concepts:
        for side in "+-":
            assert sum(entry[:2] == (concept, side) for entry in lost) <= len(added)
    # No old text is chosen that was not chosen before: only new ones displace.
    assert all(entry[2] not in old_ids for entry in chosen(after) - chosen(before))
    old = {text.id: (text.group, text.split) for text in before.texts}
    assert all(old[text.id] == (text.group, text.split) for text in after.texts if text.id in old)


@given(st.sets(st.text(st.characters(codec="ascii"), max_size=4), max_size=30), st.integers(1, 10))
def test_choice_does_not_depend_on_order_and_nests_as_the_limit_grows(ids: set[str], limit: int) -> None:
    def pick(of: list[str], n: int) -> frozenset[str]:
        return choose(of, concept="joy", polarity="positive", limit=n, seed=3)

    assert pick(sorted(ids), limit) == pick(sorted(ids, reverse=True), limit)
    assert len(pick(list(ids), limit)) == min(limit, len(ids))
    assert pick(list(ids), limit) <= pick(list(ids), limit + 1)


def test_choices_differ_by_concept_and_polarity_and_seed() -> None:
    ids = [str(i) for i in range(100)]
    draws = {
        choose(ids, concept=concept, polarity=polarity, limit=10, seed=seed)
        for concept in ("joy", "grief")
        for polarity in ("positive", "negative")
        for seed in (0, 1)
    }
    assert len(draws) == 8


def test_drops_are_counted_by_reason() -> None:
    unusable = [
        note(100, "joy:9", text="Too short."),
        note(101, "joy:11 grief:-2"),
        note(102, "joy:9", text=graph()[0].content.splitlines()[0]),
        note(103, "joy:9", kind="semantic"),
        note(104, "joy:9 calm:12"),
        note(105, "joy:9", text="A lone surrogate \ud800 that no UTF-8 file can hold, in a note of a JSON graph."),
    ]
    corpus = build_corpus(graph() + unusable, LabelRules(node_types=("journal",), emotions=("joy", "grief", "calm")))
    dropped = dict(corpus.dropped)
    assert dropped == {
        "too short": 1,
        "no valid score": 1,
        "duplicate text": 1,
        "other type": 1,
        "score outside 0-10 (ignored)": 3,
        "not valid Unicode": 1,
    }


def test_of_two_equal_texts_the_first_by_key_wins() -> None:
    text = "The same words, written on two days, and each day felt it in its own way."
    twins = [Node("b.md#x", "semantic", f"{text}\ngrief:9"), Node("a.md#x", "semantic", f"{text}\njoy:9")]
    corpus = build_corpus(graph() + twins, LabelRules())
    (row,) = [row for row in corpus.texts if row.text == text]
    assert (row.group, dict(row.scores)) == ("a.md", {"joy": 9.0})


def test_neutral_texts_enter_and_are_examples_of_nothing() -> None:
    corpus = build_corpus(graph(), LabelRules())
    neutral = [text for text in corpus.texts if text.neutral]
    assert len(neutral) == 6
    assert not any(text.positive or text.negative for text in neutral)


def test_training_texts_that_are_examples_of_nothing_are_left_out_and_heldout_ones_are_kept() -> None:
    nodes = graph() + [note(200 + i, "joy:5 grief:5 calm:5", day=i) for i in range(28)]
    corpus = build_corpus(nodes, LabelRules(emotions=("joy", "grief"), heldout_fraction=0.2))
    between = [text for text in corpus.texts if not (text.positive or text.negative or text.neutral)]
    assert {text.split for text in between} == {"heldout"}
    assert len(between) + corpus.dropped["no example of any concept"] == 28


def test_scores_keep_tags_that_are_no_concept() -> None:
    corpus = build_corpus(graph(), LabelRules(emotions=("joy",)))
    assert corpus.concepts == ("joy",)
    assert {name for text in corpus.texts for name in text.scores} == {"joy", "grief", "calm"}


def test_concepts_with_too_few_examples_are_left_out_by_name_and_the_rest_goes_on() -> None:
    nodes = [note(i, "joy:9" if i % 2 else "grief:9") for i in range(40)]
    nodes += [note(100 + i, "calm:9") for i in range(3)]
    corpus = build_corpus(nodes, LabelRules(heldout_fraction=0.0, emotions=("Joy", "GRIEF", "calm", "awe")))
    assert corpus.concepts == ("grief", "joy")
    assert dict(corpus.left_out) == {
        "awe": "0 positive training texts, need 5",
        "calm": "3 positive training texts, need 5",
    }


def test_a_concept_that_nearly_every_text_has_lacks_negatives() -> None:
    nodes = [note(i, "joy:9 grief:9" if i % 2 else "joy:9") for i in range(20)] + [note(30, "calm:9")]
    corpus = build_corpus(nodes, LabelRules(heldout_fraction=0.0))
    assert corpus.left_out["joy"] == "1 negative training texts, need 5"


def test_top_emotions_are_the_most_common_tags_and_ties_go_by_name() -> None:
    nodes = [note(i, f"{('joy', 'grief', 'calm', 'warmth')[i % 4]}:9") for i in range(40)] + [note(50, "warmth:9")]
    top = build_corpus(nodes, LabelRules(top_emotions=2, heldout_fraction=0.0))
    assert top.concepts == ("calm", "warmth")
    both = build_corpus(nodes, LabelRules(top_emotions=1, emotions=("joy",), heldout_fraction=0.0))
    assert both.concepts == ("joy", "warmth")


def test_parameters_are_the_rules_as_plain_json() -> None:
    rules = LabelRules(emotions=("joy", "grief"), seed=7)
    parameters = dict(build_corpus(graph(), rules).parameters)
    assert json.loads(json.dumps(parameters)) == parameters
    assert parameters == {**dataclasses.asdict(rules), "emotions": ["joy", "grief"]}


def test_the_hash_changes_with_a_label_and_not_with_parameters() -> None:
    corpus = build_corpus(graph(), LabelRules())
    same = build_corpus(graph(), LabelRules(min_content_chars=41))
    other = build_corpus(graph(), LabelRules(min_positive_score=9.0))
    assert corpus.sha256 == same.sha256
    assert corpus.parameters != same.parameters
    assert corpus.sha256 != other.sha256


def test_no_tags_found_says_how_many_nodes_were_read_and_what_a_tag_line_looks_like() -> None:
    with pytest.raises(CorpusError, match=r"no tags found \(got: 12 nodes read.*`warmth:9 clarity:10`"):
        build_corpus([note(i, "met at 10:30") for i in range(12)], LabelRules())
    with pytest.raises(CorpusError, match=r"no tags found.*0 nodes read"):
        build_corpus([], LabelRules(node_types=("journal",)))


def test_tagged_nodes_that_are_all_unusable_are_told_apart_from_no_tags() -> None:
    with pytest.raises(CorpusError, match=r"no tagged text is usable \(got: too short: 2"):
        build_corpus([note(i, "joy:9", text=f"short {i}") for i in range(2)], LabelRules())


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([note(i, "joy:7 calm:2") for i in range(30)], "at best calm with 0 positive.*Lower `min_positive_score"),
        ([note(i, "joy:9") for i in range(3)], "at best joy with 3 positive training.*need: 5.*min_examples"),
        ([note(i, "joy:9") for i in range(30)], "at best joy with 30 positive and 0 negative.*max_negative_score"),
    ],
)
def test_no_concept_with_enough_examples_names_the_best_and_the_flag(nodes: list[Node], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        build_corpus(nodes, LabelRules(heldout_fraction=0.0))


def test_an_unknown_node_type_is_refused() -> None:
    with pytest.raises(InputError, match="node_types dream"):
        build_corpus(graph(), LabelRules(node_types=("dream",)))


def test_count_examples_counts_what_the_texts_say() -> None:
    def row(text: str, split: str, positive: tuple[str, ...], negative: tuple[str, ...]) -> CorpusText:
        return CorpusText(text, text, text, split, {}, positive, negative)  # type: ignore[arg-type]

    texts = (row("a", "train", ("joy",), ("calm",)), row("b", "heldout", ("joy", "calm"), ()))
    assert count_examples(Corpus(("calm", "joy"), texts, {}, {}, {}, "")) == {
        "calm": {"train": {"positive": 0, "negative": 1}, "heldout": {"positive": 1, "negative": 0}},
        "joy": {"train": {"positive": 1, "negative": 0}, "heldout": {"positive": 1, "negative": 0}},
    }
