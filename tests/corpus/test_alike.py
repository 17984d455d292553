"""Near-duplicates are found, do not chain, and no split cuts them."""

import csv
import random
import time
from pathlib import Path

import pytest

from amygdala_tl.corpus import LabelRules, build_corpus, read_training_data
from amygdala_tl.corpus.alike import near_duplicates
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.records import Node

GOEMOTIONS = Path(__file__).parents[3] / "shared" / "data" / "goemotions"


@pytest.fixture(scope="module")
def real() -> list[str]:
    """Different texts of people."""
    if not GOEMOTIONS.is_dir():
        pytest.skip("needs ../shared/data/goemotions")
    with (GOEMOTIONS / "train.tsv").open(encoding="utf-8") as file:
        texts = [row[0].strip() for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    return [text for text in dict.fromkeys(texts) if len(text) > 50][:3000]


def reposted(text: str) -> str:
    return f"RT @harbour: {text.upper()}!!! https://example.org/x1"


def sets_of(texts: list[str]) -> list[set[str]]:
    return [{texts[index] for index in members} for members in near_duplicates(texts).sets]


def test_reposts_and_notes_that_differ_in_a_word_or_a_number_are_found_and_others_are_not(real):
    base = real[:400]
    changed = {text: text.replace(text.split()[4], "otherwise", 1) for text in base[:40] if len(text) > 100}
    texts = [*base, *map(reposted, base[40:80]), *changed.values()]
    found = sets_of(texts)
    for text in base[40:80]:
        assert any({text, reposted(text)} <= each for each in found), text
    missed = [text for text, other in changed.items() if not any({text, other} <= each for each in found)]
    assert len(missed) <= len(changed) // 10
    expected = {*base[40:80], *map(reposted, base[40:80]), *changed, *changed.values()}
    assert len(set().union(*found) - expected) <= 8


def test_sparse_and_full_comparison_find_the_same_pairs(real):
    few = [*real[:40], *map(reposted, real[:10])]
    many = [*few, *real[100:400]]
    assert sorted(map(sorted, sets_of(few))) == sorted(
        map(sorted, (each & set(few) for each in sets_of(many) if len(each & set(few)) > 1))
    )


def test_texts_that_share_a_template_are_not_one_set_and_their_reposts_still_are(real):
    template = "Tonight I write down how the day was, as I do every night before the lamp goes out. "
    texts = [template + text[:60] for text in real[:300]]
    texts += [reposted(text) for text in texts[:20]]
    found = near_duplicates(texts)
    assert max(map(len, found.sets)) < 10
    assert (
        sum(
            any({texts[index], reposted(texts[index])} <= {texts[m] for m in each} for each in found.sets)
            for index in range(20)
        )
        >= 18
    )


def test_a_chain_of_small_changes_does_not_join_its_ends():
    words = [f"word{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(200)]
    chain = [" ".join(words[start : start + 20]) for start in range(150)]
    assert max((len(each) for each in near_duplicates(chain).sets), default=0) <= 15


def test_more_of_one_kind_than_a_split_can_hold_is_told_and_not_grouped():
    corpus = Corpus.from_texts(
        [f"House {n} stands by the water and is lit." for n in range(40)], [["joy"], ["grief"]] * 20, min_examples=1
    )
    assert len({text.group for text in corpus.texts}) == 40
    assert any("40 texts in 1 set are nearly alike (such as House" in notice for notice in corpus.notices)


@pytest.mark.parametrize("copies", [6, 40, 100])
def test_reposts_of_one_text_are_one_group_however_many_they_are(real, copies):
    base = real[:60]
    again = [f"RT @someone{n}: {base[0].upper()} https://example.org/{n}" for n in range(copies)]
    labels = [["joy"] if index % 2 else ["grief"] for index in range(len(base) + copies)]
    corpus = Corpus.from_texts([*base, *again], labels, min_examples=1, heldout_fraction=0.5)
    of_copies = {(text.group, text.split) for text in corpus.texts if text.text in {base[0], *again}}
    assert len(of_copies) == 1
    assert f"{copies + 1} texts in 1 set are near-duplicates" in corpus.notices[0]


def test_no_split_cuts_near_duplicates_from_a_graph_from_folders_or_in_hand(real, tmp_path):
    base = real[:120]
    texts = [*base, *map(reposted, base[:20])]
    labels = ["joy" if index % 2 else "grief" for index in range(len(base))]
    labels += labels[:20]
    nodes = [
        Node(f"note-2031-01-{n % 28 + 1:02}#{n}", "x", f"{text}\n{label}:9")
        for n, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    for index, (text, label) in enumerate(zip(texts, labels, strict=True)):
        path = tmp_path / label / f"{index}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    rules = {"heldout_fraction": 0.5, "min_examples": 1}
    corpora = [
        build_corpus(nodes, LabelRules(**rules, min_content_chars=1)),
        read_training_data(tmp_path, **rules),
        Corpus.from_texts(texts, [[label] for label in labels], **rules),
        Corpus.from_dataframe({"text": texts, "labels": labels}, **rules),
    ]
    for corpus in corpora:
        side = {text.text: text.split for text in corpus.texts}
        cut = [text for text in base[:20] if side[text] != side[reposted(text)]]
        assert cut == []
        assert any("near-duplicates, which no split cuts" in notice for notice in corpus.notices)
        assert set(side.values()) == {"train", "heldout"}


def test_the_order_of_the_texts_does_not_matter(real):
    texts = [*real[:150], *map(reposted, real[:30])]
    shuffled = random.Random(0).sample(texts, len(texts))
    made = [
        Corpus.from_texts(some, [["joy"] if len(text) % 2 else ["awe"] for text in some], heldout_fraction=0.3)
        for some in (texts, shuffled)
    ]
    assert made[0] == made[1]


def test_thousands_of_texts_take_less_than_seconds(real):
    start = time.process_time()
    near_duplicates([*real, *map(reposted, real)])
    assert time.process_time() - start < 6
