"""Other texts in every format that people have them in: what is read, what is known of each, and where a mistake is."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from amygdala_tl.corpus import LabelRules, build_corpus, write_corpus
from amygdala_tl.corpus.evaluation_data import EvaluationData, EvaluationText, read_evaluation_data
from amygdala_tl.errors import AmygdalaError, CorpusError, InputError
from amygdala_tl.names import fold_name
from amygdala_tl.records import Node

REUSED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
ANY_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(lambda text: text.strip())
LABELS = st.lists(st.sampled_from(["joy", "grief", "awe", "quiet pride", "\u00e9t\u00e9"]), unique=True, max_size=3)


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def rows(*entries: object) -> str:
    return "".join(f"{json.dumps(entry)}\n" for entry in entries)


# Labelled lines


def test_a_jsonl_text_has_its_labels_and_lacks_all_others_of_the_file(tmp_path):
    file = put(
        tmp_path / "texts.jsonl",
        rows({"text": "The swing goes high.", "labels": ["joy", "awe"]}, {"text": "Rain.", "labels": []})
        + "\n"
        + rows({"text": "It is gone.", "labels": ["grief"]}, {"text": "A list of stations."}),
    )
    data = read_evaluation_data(file)
    assert [(text.text, text.positive, text.negative) for text in data.texts] == [
        ("The swing goes high.", ("joy", "awe"), None),
        ("Rain.", (), None),
        ("It is gone.", ("grief",), None),
        ("A list of stations.", (), None),
    ]
    assert data.labels == {"joy", "awe", "grief"}
    assert len({text.group for text in data.texts}) == 4


def test_positive_and_negative_say_both_and_a_group_is_kept(tmp_path):
    file = put(
        tmp_path / "texts.jsonl",
        rows(
            {"text": "One.", "positive": ["joy"], "negative": ["grief", "shame"], "group": "monday"},
            {"text": "Two.", "positive": [], "negative": ["joy"], "group": "monday"},
            {"text": "Three.", "negative": []},
        ),
    )
    data = read_evaluation_data(file)
    assert data.texts[0] == EvaluationText("One.", "monday", ("joy",), ("grief", "shame"))
    assert data.texts[1] == EvaluationText("Two.", "monday", (), ("joy",))
    assert data.texts[2].negative == ()
    assert data.texts[2].group != "monday"
    assert data.labels == {"joy", "grief", "shame"}


def test_a_conversation_is_one_text_a_message_and_one_group_a_line(tmp_path):
    first = [{"role": "user", "content": "Is it lost?"}, {"role": "assistant", "content": "It came by the late boat."}]
    file = put(
        tmp_path / "talk.jsonl",
        rows({"messages": first}, {"role": "user", "content": "Good night."}, {"messages": first, "group": "tuesday"}),
    )
    data = read_evaluation_data(file)
    assert [text.text for text in data.texts] == [
        "Is it lost?",
        "It came by the late boat.",
        "Good night.",
        "Is it lost?",
        "It came by the late boat.",
    ]
    groups = [text.group for text in data.texts]
    assert groups[0] == groups[1]
    assert groups[3:] == ["tuesday", "tuesday"]
    assert len(set(groups)) == 3
    assert data.labels == frozenset()


def test_labels_are_compared_without_case_and_said_once(tmp_path):
    lines = rows({"text": "One.", "labels": ["Joy", " joy ", "STRASSE"], "negative": ["GRIEF", "  "]})
    (text,) = read_evaluation_data(put(tmp_path / "a.jsonl", lines)).texts
    assert text.positive == ("joy", "strasse")
    assert text.negative == ("grief",)
    assert read_evaluation_data(put(tmp_path / "a.tsv", "One.\tJoy,JOY, joy\n")).labels == {"joy"}


def test_lines_without_a_group_or_with_none_are_independent(tmp_path):
    lines = rows({"text": "One."}, {"text": "Two.", "group": None}, {"text": "Three.", "group": None})
    data = read_evaluation_data(put(tmp_path / "a.jsonl", lines))
    assert len({text.group for text in data.texts}) == 3


def test_names_that_unicode_spells_in_two_ways_are_one_label(tmp_path):
    # A file name on one system is composed, on another decomposed; concepts of a corpus are composed.
    lines = rows({"text": "One.", "labels": ["e\u0301te\u0301"]}, {"text": "Two.", "labels": ["\u00c9T\u00c9"]})
    assert read_evaluation_data(put(tmp_path / "a.jsonl", lines)).labels == {"\u00e9t\u00e9"}


def test_a_tsv_has_names_and_may_leave_them_out(tmp_path):
    file = put(tmp_path / "texts.tsv", "The swing goes high.\tjoy, awe\teab3\r\n\r\nRain.\t\r\nA list of stations.\r\n")
    data = read_evaluation_data(file)
    assert [(text.text, text.positive) for text in data.texts] == [
        ("The swing goes high.", ("joy", "awe")),
        ("Rain.", ()),
        ("A list of stations.", ()),
    ]
    assert data.labels == {"joy", "awe"}


def test_numbers_of_a_tsv_are_looked_up_in_the_labels_beside_it(tmp_path):
    put(tmp_path / "labels.txt", "Admiration\namusement\nanger\n")
    data = read_evaluation_data(put(tmp_path / "test.tsv", "One.\t0,2\t\nTwo.\t1\nThree.\tanger\n"))
    assert [text.positive for text in data.texts] == [("admiration", "anger"), ("amusement",), ("anger",)]


def test_a_number_may_have_leading_zeros_and_must_be_a_line_of_the_names(tmp_path):
    put(tmp_path / "labels.txt", "admiration\namusement\nanger\n")
    data = read_evaluation_data(put(tmp_path / "test.tsv", f"One.\t{'0' * 12}1\nTwo.\t00\n"))
    assert [text.positive for text in data.texts] == [("amusement",), ("admiration",)]
    for number in ("3", "0000000003", "1" * 5_000):
        with pytest.raises(InputError, match=r"test\.tsv, line 1: .*labels\.txt"):
            read_evaluation_data(put(tmp_path / "test.tsv", f"One.\t{number}\n"))


def test_names_are_folded_as_tags_are(tmp_path):
    # The small iota with two marks folds to three code points, which compose again.
    data = read_evaluation_data(put(tmp_path / "a.tsv", "One.\t\u0390\n"))
    assert data.labels == {fold_name("\u0390")}


def test_half_a_surrogate_pair_becomes_a_replacement_character_as_in_a_memory_graph(tmp_path):
    row = {"text": "\ud800 One.", "labels": ["joy\ud800"], "negative": ["\udc00"], "group": "\ud800"}
    (text,) = read_evaluation_data(put(tmp_path / "a.jsonl", rows(row))).texts
    assert text == EvaluationText("\ufffd One.", "\ufffd", ("joy\ufffd",), ("\ufffd",))


def test_numbers_without_a_file_of_names_are_names(tmp_path):
    assert read_evaluation_data(put(tmp_path / "test.tsv", "One.\t0,2\n")).labels == {"0", "2"}


# Unlabelled text


def test_passages_stand_between_blank_lines_and_become_one_line_each(tmp_path):
    text = "\ufeffThe first\nof two lines.\r\n\r\n\r\nThe second.\n \t\nThe third,\r\nafter a line of spaces.\n"
    data = read_evaluation_data(put(tmp_path / "page.txt", text))
    assert [text.text for text in data.texts] == [
        "The first of two lines.",
        "The second.",
        "The third, after a line of spaces.",
    ]
    assert data.labels == frozenset()
    assert len({text.group for text in data.texts}) == 3


def test_a_file_with_another_ending_is_read_as_passages(tmp_path):
    assert len(read_evaluation_data(put(tmp_path / "README.md", "# One\n\nTwo.\n")).texts) == 2
    assert len(read_evaluation_data(put(tmp_path / "texts.JSONL", '{"text": "One."}')).texts) == 1


# Folders


def test_a_corpus_folder_gives_the_texts_of_both_splits_without_the_neutral_ones(tmp_path):
    tags = ("joy:9", "grief:8", "")
    nodes = [
        Node(f"note-{i}.md#x", "semantic", f"Note {i}: the quiet of the harbour at {i} o'clock.\n\n{tags[i % 3]}")
        for i in range(30)
    ]
    corpus = build_corpus(nodes, LabelRules(min_examples=2))
    write_corpus(corpus, tmp_path)
    assert {text.split for text in corpus.texts if not text.neutral} == {"train", "heldout"}
    data = read_evaluation_data(tmp_path)
    expected = {text.text: text for text in corpus.texts if text.scores}
    assert len(data.texts) == len(expected) == 20
    for text in data.texts:
        own = expected[text.text]
        assert (text.group, text.positive, text.negative) == (own.group, own.positive, own.negative)
    assert data.labels == {"joy", "grief"}


def test_every_labelled_text_of_a_folder_is_read_whatever_its_split_would_be(tmp_path):
    # Each concept has one text a side: any of them may fall to either side of a split that is not asked for here.
    concepts = [f"mood{number}" for number in range(12)]
    for concept in concepts:
        put(tmp_path / concept / "positive" / "1.txt", f"A day of {concept}.")
        put(tmp_path / concept / "negative" / "1.txt", f"Another day without {concept}.")
    put(tmp_path / "mood0" / "negative" / "_plain.txt", "A list of stations.")
    data = read_evaluation_data(tmp_path)
    assert data.labels == set(concepts)
    assert {text.text: (text.positive, text.negative) for text in data.texts} == {
        **{f"A day of {concept}.": ((concept,), ()) for concept in concepts},
        **{f"Another day without {concept}.": ((), (concept,)) for concept in concepts},
    }


def test_paired_stories_keep_their_scenario_as_their_group(tmp_path):
    put(tmp_path / "paired" / "kitchen" / "Joy.txt", "Bread, and she laughed.")
    put(tmp_path / "paired" / "kitchen" / "grief.txt", "Bread, and she wept.")
    put(tmp_path / "paired" / "kitchen" / "baseline.txt", "Bread.")
    data = read_evaluation_data(tmp_path)
    assert {text.group for text in data.texts} == {"kitchen"}
    assert {text.text: (text.positive, text.negative) for text in data.texts} == {
        "Bread, and she laughed.": (("joy",), ("grief",)),
        "Bread, and she wept.": (("grief",), ("joy",)),
        "Bread.": ((), ("grief", "joy")),
    }


def test_a_damaged_folder_of_texts_is_a_corpus_error_that_names_it(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="empty: no training data"):
        read_evaluation_data(tmp_path / "empty")
    put(tmp_path / "half" / "corpus.json", "{}")
    with pytest.raises(CorpusError, match=r"half/corpus\.json"):
        read_evaluation_data(tmp_path / "half")


# Whatever a file holds


@REUSED_FOLDER
@given(
    entries=st.lists(
        st.fixed_dictionaries(
            {"text": ANY_TEXT},
            optional={"labels": LABELS, "group": st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)},
        ),
        min_size=1,
        max_size=5,
    ),
    escaped=st.booleans(),
    ends=st.sampled_from(["\n", "\r\n", "\n\n"]),
)
@example(entries=[{"text": "one\u2028line\x85\x1c\x0bstill", "labels": ["joy"]}], escaped=False, ends="\n")
def test_written_rows_are_read_back_as_they_were(tmp_path, entries, escaped, ends):
    lines = [json.dumps(entry, ensure_ascii=escaped) for entry in entries]
    data = read_evaluation_data(put(tmp_path / "a.jsonl", ends.join(lines)))
    assert [text.text for text in data.texts] == [entry["text"] for entry in entries]
    assert [list(text.positive) for text in data.texts] == [entry.get("labels", []) for entry in entries]
    for text, entry in zip(data.texts, entries, strict=True):
        assert text.group == entry.get("group", text.group)
    assert data.labels == {label for entry in entries for label in entry.get("labels", [])}


@REUSED_FOLDER
@given(
    entries=st.lists(
        st.tuples(
            ANY_TEXT.filter(lambda text: not {"\t", "\n", "\r", "\ufeff"} & set(text)),
            LABELS,
        ),
        min_size=1,
        max_size=5,
    ),
    numbers=st.booleans(),
)
@example(entries=[("one\u2028line\x85still", ["joy"])], numbers=False)
def test_a_written_table_is_read_back_as_it_was(tmp_path_factory, entries, numbers):
    folder = tmp_path_factory.mktemp("table")
    names = sorted({label for _, labels in entries for label in labels})
    cells = [[str(names.index(label)) if numbers else label for label in labels] for _, labels in entries]
    if numbers:
        put(folder / "labels.txt", "".join(f"{name}\n" for name in names))
    lines = [f"{text}\t{','.join(row)}\n" for (text, _), row in zip(entries, cells, strict=True)]
    data = read_evaluation_data(put(folder / "a.tsv", "".join(lines)))
    assert [text.text for text in data.texts] == [text for text, _ in entries]
    assert [list(text.positive) for text in data.texts] == [labels for _, labels in entries]
    assert data.labels == set(names)


def read_or_refused(file: Path) -> EvaluationData | str:
    """What is read, or the message of one of the two errors that may be raised."""
    try:
        return read_evaluation_data(file)
    except (InputError, CorpusError) as error:
        return str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["text", "content", "labels", "positive", "negative", "messages", "group", "role"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.lists(JSON, max_size=3).map(lambda some: rows(*some).encode()))
@example(content=b"[" * 100_000)
@example(content=b"9" * 10_000)
@example(content=b'{"text": "x", "negative": 0}')
@example(content=b'{"text": "x", "negative": ""}')
@example(content=b'{"text": "\\ud800"}')
@example(content=b'{"text": "x", "labels": ["\\ud800"]}')
@example(content="x\t\u00b2".encode())
@example(content=b"x\t" + b"1" * 5_000)
@example(content=b"\t1")
@example(content=b"a\0b")
@pytest.mark.parametrize("name", ["a.jsonl", "a.tsv", "a.txt"])
def test_whatever_a_file_holds_is_texts_that_can_be_tokenized_or_one_error_that_names_it(tmp_path, name, content):
    put(tmp_path / "labels.txt", "joy\ngrief\n")
    data = read_or_refused(put(tmp_path / name, content))
    if isinstance(data, str):
        assert str(tmp_path / name) in data
        return
    assert data.texts
    for text in data.texts:
        assert text.text.strip()
        text.text.encode("utf-8")  # what a tokenizer needs
        assert all(label.strip() for label in (*text.positive, *(text.negative or ())))
        assert set(text.positive).isdisjoint(text.negative or ())
        assert data.labels.issuperset((*text.positive, *(text.negative or ())))


# Mistakes


FINE = rows({"text": "Fine.", "labels": ["joy"]})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", FINE + "\n{'text': 1}\n", "line 3"),
        ("a.jsonl", FINE + '"just a string"\n', "line 2"),
        ("a.jsonl", FINE + FINE + '{"labels": ["joy"]}\n', "line 3"),
        ("a.jsonl", '{"text": "  "}\n' + FINE, "line 1"),
        ("a.jsonl", FINE + '{"text": 7}\n', "line 2"),
        ("a.jsonl", FINE + '{"messages": [{"role": "user", "content": "Hi."}, {"role": "user"}]}\n', "line 2"),
        ("a.jsonl", FINE + '{"text": "x", "labels": "joy"}\n', r"line 2.*`labels`"),
        ("a.jsonl", FINE + '{"text": "x", "positive": [1]}\n', r"line 2.*`positive\[0\]`"),
        ("a.jsonl", FINE + '{"text": "x", "negative": "joy"}\n', r"line 2.*`negative`"),
        ("a.jsonl", FINE + '{"text": "x", "negative": 0}\n', r"line 2.*`negative`"),
        ("a.jsonl", FINE + '{"text": "x", "positive": ["Joy"], "negative": ["joy"]}\n', "line 2.*joy"),
        ("a.jsonl", FINE + "[" * 100_000, "line 2"),
        ("a.tsv", "One.\tjoy\nTwo.\t9\n", r"line 2.*9 of 2 in labels\.txt"),
        ("a.tsv", "One.\tjoy\n\tgrief\n", "line 2"),
        ("a.tsv", "One.\tjoy\nTwo.\t" + "1" * 5_000 + "\n", "line 2"),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path, name, content, said):
    put(tmp_path / "labels.txt", "joy\ngrief\n")
    with pytest.raises(InputError, match=rf"(?s){name}.*{said}") as raised:
        read_evaluation_data(put(tmp_path / name, content))
    assert "See docs/corpora.md" in str(raised.value)
    assert len(str(raised.value)) < 1_000


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"\xff\xfea\0", "cannot be read.*utf-8"),
        ("a.jsonl", b'{"text": "\xe9"}', "cannot be read.*utf-8"),
        ("a.txt", b" \n\n\t\n", "has no text"),
        ("a.jsonl", b"\n\n", "has no text"),
        ("a.jsonl", b'{"messages": []}\n', "has no text"),
        ("a.tsv", b"", "has no text"),
    ],
)
def test_a_file_without_text_is_named(tmp_path, name, content, said):
    with pytest.raises(InputError, match=f"{name}.*{said}.*Check `data`"):
        read_evaluation_data(put(tmp_path / name, content))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.jsonl: cannot be read"):
        read_evaluation_data(tmp_path / "nowhere.jsonl")


def test_names_of_numbers_that_cannot_be_read_are_named_by_their_own_file(tmp_path):
    put(tmp_path / "labels.txt", b"joy\n\xff\n")
    with pytest.raises(AmygdalaError, match=r"labels\.txt"):
        read_evaluation_data(put(tmp_path / "a.tsv", "One.\t0\n"))
