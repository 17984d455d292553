"""Texts and labels that a program already holds become the corpus that their labels describe."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amygdala_tl.corpus import read_corpus, write_corpus
from amygdala_tl.corpus.labels import count_mentions
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.errors import CorpusError, InputError

GOEMOTIONS = Path(__file__).parents[3] / "shared" / "data" / "goemotions"
NAMES = ["joy", "grief", "awe"]
TEXTS = [f"The lamp of house {number} went out at dusk." for number in range(12)]
LABELS = [["joy"], ["grief"], ["joy", "awe"], ["grief", "awe"], [], ["joy"]] * 2


def small(texts=TEXTS, labels=LABELS, **options) -> Corpus:
    return Corpus.from_texts(texts, labels, **({"min_examples": 1, "heldout_fraction": 0.0} | options))


def labels_of(corpus: Corpus) -> dict[str, tuple[set[str], set[str]]]:
    return {text.text: (set(text.positive), set(text.negative)) for text in corpus.texts}


def matrix_of(labels, names=NAMES):
    return [[int(name in row) for name in names] for row in labels]


@pytest.fixture(scope="module")
def real() -> tuple[list[str], list[list[str]]]:
    """Two thousand GoEmotions texts with their labels."""
    if not GOEMOTIONS.is_dir():
        pytest.skip("needs ../shared/data/goemotions")
    names = (GOEMOTIONS / "labels.txt").read_text().split()
    with (GOEMOTIONS / "dev.tsv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:2000]
    return [row[0] for row in rows], [[names[int(number)] for number in row[1].split(",")] for row in rows]


def test_a_text_is_a_positive_of_its_labels_and_a_negative_of_the_others():
    found = labels_of(small())
    assert found[TEXTS[0]] == ({"joy"}, {"grief", "awe"})
    assert found[TEXTS[3]] == ({"grief", "awe"}, {"joy"})
    assert found[TEXTS[4]] == (set(), set())
    assert small().concepts == ("awe", "grief", "joy")


def test_a_text_that_names_a_concept_is_not_its_negative():
    texts = ["No joy in the harbour today.", *TEXTS[1:]]
    labels = [["grief"], *LABELS[1:]]
    assert labels_of(small(texts, labels))[texts[0]] == ({"grief"}, {"awe"})
    assert labels_of(small(texts, labels, max_negative_mentions=1))[texts[0]] == ({"grief"}, {"awe", "joy"})


@pytest.mark.parametrize(
    "kind", [np.array, torch.tensor, lambda rows: np.array(rows, dtype=bool), lambda rows: np.array(rows, dtype=float), list]
)  # fmt: skip
def test_lists_and_arrays_say_the_same_except_for_texts_without_labels(kind):
    labelled = [row for row in LABELS if row]
    texts = TEXTS[: len(labelled)]
    assert small(texts, kind(matrix_of(labelled)), concepts=NAMES) == small(texts, labelled)
    assert labels_of(small(TEXTS, kind(matrix_of(LABELS)), concepts=NAMES))[TEXTS[4]] == (set(), set(NAMES))
    assert small().texts[[text.text for text in small().texts].index(TEXTS[4])].neutral


def test_one_label_a_text_is_a_list_of_one():
    names = ["joy", "grief", None, float("nan"), " JOY ", ""] * 2
    lists = [["joy"], ["grief"], [], [], ["joy"], []] * 2
    assert small(labels=names) == small(labels=lists)


def test_texts_that_come_twice_are_one_with_all_their_labels():
    texts, labels = [*TEXTS, f"  {TEXTS[0]}\n", TEXTS[4]], [*LABELS, ["awe"], ["grief"]]
    corpus = small(texts, labels)
    assert labels_of(corpus)[TEXTS[0]] == ({"joy", "awe"}, {"grief"})
    assert labels_of(corpus)[TEXTS[4]] == ({"grief"}, {"joy", "awe"})
    assert corpus.dropped == {"duplicate text": 2}


def test_blank_texts_and_half_surrogate_pairs_are_dropped_and_counted():
    corpus = small([*TEXTS, " \n", "\ud83d"], [*LABELS, ["joy"], ["joy"]])
    assert corpus.dropped == {"too short": 1, "not valid Unicode": 1}
    assert corpus.texts == small().texts


def test_a_labelled_text_without_examples_is_no_neutral_text():
    texts = [*TEXTS, "Neither joy nor grief nor awe."]
    corpus = small(texts, np.array([*matrix_of(LABELS), [0, 0, 0]]), concepts=NAMES)
    assert texts[-1] not in labels_of(corpus)
    assert corpus.dropped == {"no example of any concept": 1}
    rare = small(labels=[["shame"], *LABELS[1:]], min_examples=2)
    assert rare.left_out == {"shame": "1 positive training texts, need 2"}
    assert labels_of(rare)[TEXTS[0]] == (set(), {"joy", "grief", "awe"})


def test_a_split_never_separates_a_group_and_a_text_is_its_own_group():
    texts, labels = [f"House {number} is lit." for number in range(60)], [["joy"], ["grief"]] * 30
    groups = [number // 6 for number in range(60)]
    sides: dict[str, set[str]] = {}
    for seed in range(20):
        corpus = small(texts, labels, groups=groups, heldout_fraction=0.4, seed=seed)
        for text in corpus.texts:
            sides.setdefault(f"{seed} {text.group}", set()).add(text.split)
    assert all(len(side) == 1 for side in sides.values())
    assert set.union(*sides.values()) == {"train", "heldout"}
    assert all(text.group == text.id for text in small(groups=[None] * len(TEXTS)).texts)


def test_the_corpus_records_its_parameters_and_survives_the_disk(tmp_path):
    corpus = small(heldout_fraction=0.25, seed=3, min_examples=2)
    assert corpus.parameters == {
        "source": "texts in hand", "heldout_fraction": 0.25, "max_negative_mentions": 0, "seed": 3, "min_examples": 2
    }  # fmt: skip
    write_corpus(corpus, tmp_path)
    assert read_corpus(tmp_path) == corpus


ROWS = st.lists(
    st.tuples(st.integers(0, 30), st.sets(st.sampled_from(NAMES)), st.integers(0, 5)), min_size=30, max_size=60
)


@settings(max_examples=50, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_order_and_case_do_not_matter(rows, random):
    def made(rows, fold=str):
        texts = [f"House {number} stands by the water." for number, _, _ in rows]
        labels = [[fold(name) for name in labels] for _, labels, _ in rows]
        try:
            return small(texts, labels, groups=[group for *_, group in rows], heldout_fraction=0.2)
        except CorpusError as error:
            return str(error)

    shuffled = random.sample(rows, len(rows))
    assert made(rows) == made(shuffled, str.upper)


def test_pandas_and_mappings_of_columns_give_the_same_corpus():
    pandas = pytest.importorskip("pandas")
    groups = [f"day {number // 2}" for number in range(len(TEXTS))]
    expected = small(groups=groups)
    columns = {"text": TEXTS, "labels": LABELS, "day": groups}
    rules = {"min_examples": 1, "heldout_fraction": 0.0}
    for frame in (columns, pandas.DataFrame(columns)):
        assert Corpus.from_dataframe(frame, group="day", **rules) == expected
    wide = pandas.DataFrame({"body": TEXTS, **dict(zip(NAMES, zip(*matrix_of(LABELS), strict=True), strict=True))})
    assert Corpus.from_dataframe(wide, text="body", labels=NAMES, **rules) == small(
        labels=np.array(matrix_of(LABELS)), concepts=NAMES
    )
    one = pandas.DataFrame({"text": TEXTS, "labels": ["joy", "grief", None] * 4})
    assert Corpus.from_dataframe(one, **rules) == small(labels=[["joy"], ["grief"], []] * 4)
    with pytest.raises(InputError, match=r"topic: no such column .got: text, labels"):
        Corpus.from_dataframe(one, labels="topic")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS[:-1]}, r"labels: the lengths differ .got: 11; need: 12"),
        ({"groups": [1]}, r"groups: the lengths differ .got: 1; need: 12"),
        ({"texts": [], "labels": []}, "no texts"),
        ({"texts": [*TEXTS[:5], 7, *TEXTS[6:]]}, r"texts\[5\]: not a string .got: int"),
        ({"labels": [["joy"], ["joy", 7], *LABELS[2:]]}, r"labels\[1\]: not a string .got: int"),
        ({"labels": [["joy"], 7.5, *LABELS[2:]]}, r"labels\[1\]: not a string .got: float"),
        ({"concepts": ["joy", "awe"]}, r"labels\[1\]: not among the concepts .got: grief; need: joy, awe"),
        ({"concepts": ["joy", "Joy"]}, "concepts: cannot be used"),
        ({"concepts": []}, "concepts: cannot be used"),
        ({"labels": matrix_of(LABELS)}, "concepts: an array of labels needs names"),
        ({"labels": matrix_of(LABELS), "concepts": ["joy"]}, r"labels\[0\]: not a row of zeros and ones .*need: 1 values"),
        ({"labels": [[1, 2, 0]] * 12, "concepts": NAMES}, r"labels\[0\]: not a row of zeros and ones .got: \[1, 2, 0\]"),
        ({"heldout_fraction": 1.0}, "heldout_fraction"),
        ({"min_examples": 0}, "min_examples"),
    ],
)  # fmt: skip
def test_invalid_input_is_one_error_with_the_place(change, message):
    with pytest.raises(InputError, match=message):
        small(**change)


def test_too_few_examples_are_an_error_that_says_what_is_nearest():
    with pytest.raises(CorpusError, match=r"at best joy with 6 positive and 4 negative .*need: 9 positive"):
        small(min_examples=9)


def test_real_texts_get_the_labels_that_people_gave_them(real):
    texts, labels = real
    corpus = Corpus.from_texts(texts, labels, min_examples=10, heldout_fraction=0.2)
    assert len(corpus.concepts) > 15
    said: dict[str, set[str]] = {}
    for text, names in zip(texts, labels, strict=True):
        said.setdefault(text.strip(), set()).update(names)
    for text in corpus.texts:
        assert set(text.positive) == said[text.text] & set(corpus.concepts)
        assert set(text.negative) == {
            name for name in corpus.concepts if name not in said[text.text] and not count_mentions(text.text, name)
        }
    heldout = sum(text.split == "heldout" for text in corpus.texts) / len(corpus.texts)
    assert 0.15 < heldout < 0.25
    fewer = Corpus.from_texts(texts[:-5], labels[:-5], min_examples=10, heldout_fraction=0.2)
    known = {text.id: dataclasses.replace(text, positive=(), negative=()) for text in corpus.texts}
    assert all(dataclasses.replace(text, positive=(), negative=()) == known.get(text.id) for text in fewer.texts)
