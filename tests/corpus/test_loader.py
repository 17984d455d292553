"""Every form of labelled texts gives the same corpus, to train on and to judge with; mistakes are named by their place."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from amygdala_tl.corpus import LabelRules, build_corpus, read_training_data, write_corpus
from amygdala_tl.corpus.loader import read_in_order, read_texts
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.errors import AmygdalaError, CorpusError, InputError
from amygdala_tl.records import Node
from tests.corpus.places import PLACES

REUSED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
TEXTS = {
    f"Down by the {place} {what}, and I wrote it all down.": label
    for place in PLACES
    for what, label in (
        ("we danced until the lamps went out", "joy"),
        ("nobody came to the burial of the old dog", "grief"),
    )
}


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def rows(*entries: object) -> str:
    return "".join(f"{json.dumps(entry)}\n" for entry in entries)


def labels(corpus: Corpus) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    return {text.text: (text.positive, text.negative) for text in corpus.texts}


def table(delimiter: str, header: tuple[str, ...] | None, texts: dict[str, str] = TEXTS) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows(([header] if header else []) + [[text, label] for text, label in texts.items()])
    return stream.getvalue()


def write_form(root: Path, form: str) -> Path:
    """Write `TEXTS` in one of the forms that people have."""
    by_label = {name: [text for text, label in TEXTS.items() if label == name] for name in ("joy", "grief")}
    if form == "label folders":
        for name, texts in by_label.items():
            for number, text in enumerate(texts):
                put(root / name.capitalize() / f"{number}.TXT", text)
        put(root / "README.txt", "What this is.")
        return root
    if form in ("label files", "direct", "stories"):
        folder = root if form == "label files" else root / form.upper()
        for name, texts in by_label.items():
            put(folder / f"{name}.txt", "\n".join(texts[:6]) + "\n\n" + "\n".join(texts[6:]))  # one stray blank line
        return root
    if form == "concept folders":
        for name in by_label:
            for number, (text, label) in enumerate(TEXTS.items()):
                put(root / name.upper() / ("Positive" if label == name else "NEGATIVE") / f"{number}.txt", text)
        return root
    entries = [{"text": text, "label": label} for text, label in TEXTS.items()]
    contents = {
        "a.csv": table(",", ("text", "label")),
        "semicolons.csv": table(";", ("Text", "Emotion")),
        "bare.csv": table(",", None),
        "indicators.csv": "id,text,joy,grief\n"
        + "".join(
            f'"{n}","{text}",{int(label == "joy")},{int(label == "grief")}\n'
            for n, (text, label) in enumerate(TEXTS.items())
        ),
        "a.tsv": "".join(f"{text}\t{label}\tx\n" for text, label in TEXTS.items()),
        "header.tsv": "\ufefftext\temotion\r\n\r\n" + "".join(f"{text}\t{label}\r\n" for text, label in TEXTS.items()),
        "a.jsonl": rows(*entries),
        "lists.jsonl": rows(*({"content": text, "Emotions": [label]} for text, label in TEXTS.items())),
        "separated.jsonl": rows(*({"text": text, "labels": f"['{label}']"} for text, label in TEXTS.items())),
        "list.json": json.dumps(entries, indent=1),
        "data.json": json.dumps({"data": entries, "version": 2}),
        "columns.json": json.dumps({"text": list(TEXTS), "label": list(TEXTS.values())}),
        "lines.json": rows(*entries),
    }
    return put(root / form, contents[form])


FORMS = [
    "label folders",
    "label files",
    "direct",
    "stories",
    "concept folders",
    "a.csv",
    "semicolons.csv",
    "bare.csv",
    "indicators.csv",
    "a.tsv",
    "header.tsv",
    "a.jsonl",
    "lists.jsonl",
    "separated.jsonl",
    "list.json",
    "data.json",
    "columns.json",
    "lines.json",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_texts_is_the_same_corpus_for_training_and_for_judging(tmp_path, form):
    path = write_form(tmp_path, form)
    other = {"joy": "grief", "grief": "joy"}
    expected = {text: ((label,), (other[label],)) for text, label in TEXTS.items()}
    assert labels(read_training_data(path, min_examples=1, heldout_fraction=0.0)) == expected
    assert labels(read_texts(path)) == expected
    if path.is_file():  # a folder with one table in it
        assert labels(read_training_data(tmp_path, min_examples=1, heldout_fraction=0.0)) == expected


def test_lines_with_a_stray_blank_line_stay_texts_and_the_reading_is_told(tmp_path):
    corpus = read_texts(write_form(tmp_path, "direct"))
    assert len(corpus.texts) == 24
    assert any("joy.txt: read as 12 texts, one a line" in notice for notice in corpus.notices)


def test_wrapped_paragraphs_between_blank_lines_are_one_text_each_and_the_reading_is_told(tmp_path):
    paragraph = "The lamp went out in the middle\nof the night, and nobody at all\nnoticed it.\n"
    corpus = read_texts(
        put(tmp_path / "page.txt", "\n".join([paragraph, "The second one\nis about the boat.", "", "Third."]))
    )
    assert {text.text.partition("\n")[0] for text in corpus.texts} == {
        "The lamp went out in the middle",
        "The second one",
        "Third.",
    }
    assert corpus.notices == ("page.txt: read as 3 texts, one between blank lines",)
    assert all(text.neutral for text in corpus.texts)


def test_a_quoted_cell_keeps_its_newlines_and_quotes(tmp_path):
    content = 'text,label\n"One ""line"",\n\nand another.",joy\n\n"Two.",grief\n'
    assert labels(read_texts(put(tmp_path / "a.csv", content))) == {
        'One "line",\n\nand another.': (("joy",), ("grief",)),
        "Two.": (("grief",), ("joy",)),
    }
    excel = 'text\tlabel\n"One\nline."\tjoy\nTwo.\tgrief\n'
    assert set(labels(read_texts(put(tmp_path / "a.tsv", excel)))) == {"One\nline.", "Two."}
    plain = '"Hello" she said.\tjoy\nand then "Bye.\tgrief\n'
    assert set(labels(read_texts(put(tmp_path / "b.tsv", plain)))) == {'"Hello" she said.', 'and then "Bye.'}


def test_missing_labels_are_unknown_and_an_empty_list_says_that_none_applies(tmp_path):
    lines = rows(
        {"text": "One.", "labels": ["Joy", " joy ", "STRASSE"]},
        {"text": "Two.", "labels": []},
        {"text": "Three."},
        {"text": "Four.", "labels": None},
        {"text": "Five.", "labels": " "},
        {"text": "No joy in six."},
        {"text": "Of joy, seven.", "labels": "strasse"},
    )
    corpus = read_texts(put(tmp_path / "a.jsonl", lines))
    assert labels(corpus) == {
        "One.": (("joy", "strasse"), ()),
        "Two.": ((), ("joy", "strasse")),
        "Three.": ((), ()),
        "Four.": ((), ()),
        "Five.": ((), ()),
        "No joy in six.": ((), ()),
        "Of joy, seven.": (("strasse",), ()),
    }
    assert read_texts(put(tmp_path / "a.tsv", "One.\tjoy, awe|pride;joy\nTwo.\t\nThree.\n")).concepts == (
        "awe",
        "joy",
        "pride",
    )


def test_positive_and_negative_say_both_and_a_group_is_kept(tmp_path):
    lines = rows(
        {"text": "One lamp.", "positive": ["joy"], "negative": ["grief", "shame"], "group": "monday"},
        {"text": "Two boats.", "positive": [], "negative": ["joy"], "group": "monday"},
        {"text": "Three.", "negative": []},
    )
    corpus = read_texts(put(tmp_path / "a.jsonl", lines))
    assert labels(corpus) == {
        "One lamp.": (("joy",), ("grief", "shame")),
        "Two boats.": ((), ("joy",)),
        "Three.": ((), ()),
    }
    assert [text.group for text in corpus.texts if not text.neutral] == ["monday", "monday"]


def test_the_turns_of_a_conversation_are_texts_of_one_group_and_turns_without_text_are_counted(tmp_path):
    parts = [
        {"type": "text", "text": "I felt warm"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "and calm."},
    ]
    turns = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": "Good night."},
    ]
    sharegpt = [{"from": "human", "value": "hi there"}, {"from": "gpt", "value": "hello, warm day"}]
    lines = rows(
        {"messages": turns, "label": "joy"},
        {"conversations": sharegpt},
        {"role": "user", "content": "A line of its own."},
    )
    corpus = read_texts(put(tmp_path / "talk.jsonl", lines))
    found = {text.text: text for text in corpus.texts}
    assert set(found) == {"I felt warm\nand calm.", "Good night.", "hi there", "hello, warm day", "A line of its own."}
    assert found["I felt warm\nand calm."].group == found["Good night."].group != found["hi there"].group
    assert found["Good night."].positive == ("joy",)
    assert dict(corpus.dropped) == {"turn without text": 1}
    assert (
        corpus.examples["turn without text"].endswith("talk.jsonl, line 1")
        or "..." in corpus.examples["turn without text"]
    )


def test_numbers_are_looked_up_in_the_labels_beside_the_table(tmp_path):
    put(tmp_path / "labels.txt", "Admiration\namusement\nanger\n")
    corpus = read_texts(put(tmp_path / "test.tsv", f"One.\t0,2\t\nTwo.\t{'0' * 12}1\nThree.\tanger\n"))
    assert {text.text: text.positive for text in corpus.texts} == {
        "One.": ("admiration", "anger"),
        "Two.": ("amusement",),
        "Three.": ("anger",),
    }
    assert read_texts(put(tmp_path / "a.jsonl", rows({"text": "One.", "label": 2}))).concepts == ("anger",)
    for number in ("3", "0000000003", "1" * 5_000):
        with pytest.raises(CorpusError, match=r"test\.tsv, line 1: .*labels\.txt"):
            read_texts(put(tmp_path / "test.tsv", f"One.\t{number}\n"))


def test_a_text_that_comes_twice_has_all_its_labels(tmp_path):
    corpus = read_texts(put(tmp_path / "a.tsv", "One.\tjoy\nTwo.\tgrief\nOne.\tawe\n"))
    assert labels(corpus)["One."] == (("awe", "joy"), ("grief",))
    assert corpus.dropped == {"duplicate text": 1}
    with pytest.raises(CorpusError, match=r"(?s)a positive and a negative of joy.*line 2"):
        read_texts(
            put(tmp_path / "a.jsonl", rows({"text": "x", "positive": ["joy"]}, {"text": "x", "negative": ["joy"]}))
        )


def test_a_corpus_folder_gives_the_texts_of_both_splits(tmp_path):
    tags = ("joy:9", "grief:8", "")
    nodes = [
        Node(f"note-{i}.md#x", "semantic", f"Note {i}: the quiet harbour at {i} o'clock.\n\n{tags[i % 3]}")
        for i in range(30)
    ]
    corpus = build_corpus(nodes, LabelRules(min_examples=2, min_content_chars=10))
    write_corpus(corpus, tmp_path)
    assert read_texts(tmp_path) == corpus == read_training_data(tmp_path)


# Mistakes

FINE = rows({"text": "Fine.", "labels": ["joy"]})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", FINE + "\n{'text': 1}\n", "line 3"),
        ("a.jsonl", FINE + '"just a string"\n', "line 2"),
        ("a.jsonl", FINE + '{"text": 7}\n', "line 2.*`text`"),
        ("a.jsonl", FINE + '{"text": "x", "labels": {"joy": 1}}\n', "line 2.*`labels`"),
        ("a.jsonl", FINE + '{"text": "x", "positive": [1.5]}\n', r"line 2.*`positive\[0\]`"),
        ("a.jsonl", FINE + '{"text": "x", "positive": ["Joy"], "negative": ["joy"]}\n', "line 2.*joy"),
        (
            "a.jsonl",
            FINE + '{"text": "x", "label": "joy", "emotion": "grief"}\n',
            "line 2: two fields give labels .got: label and emotion",
        ),
        ("a.jsonl", FINE + "[" * 100_000, "line 2"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", '[{"text": "x", "label": ' + "9" * 5_000 + "}]", "integer"),
        ("a.json", '[{"text": "One."}, 7]', "row 2"),
        ("a.csv", 'text,label\n"One,joy\n', "not valid CSV"),
        ("a.csv", "text,text\nOne.,Two.\n", "two columns have one name"),
        (
            "a.tsv",
            "utterance\tmood\n" + "".join(f"It was day {n}.\tjoy\n" for n in range(5)),
            "no column of texts .got: the columns utterance, mood",
        ),
        ("a.csv", "utterance,text\n,\n", "has no text .got: the columns|has no text"),
        ("a.jsonl", '{"utterance": "x"}\n', "has no text .got: the columns utterance"),
        (
            "a.jsonl",
            '{"text": "x", "topic": "y"}\n',
            "has no labels .got: the columns text, topic; need: a column labels, label",
        ),
        ("a.txt", "One.\nTwo.\n", "has no labels .got: texts only"),
        ("a.txt", b"\xff\xfea\0", "not a UTF-8 text"),
        ("a.tsv", b"\xe9\tjoy", "not a UTF-8 text"),
        ("a.csv", b"a\0b,joy", "NUL"),
        ("a.txt", b" \n\n\t\n", "has no text"),
        ("a.jsonl", b"\n\n", "has no text"),
        ("a.jsonl", b'{"messages": []}\n', "has no text"),
        ("a.tsv", b"", "has no text"),
    ],
)
def test_what_cannot_be_read_is_one_error_with_the_place(tmp_path, name, content, said):
    with pytest.raises(CorpusError, match=rf"(?s){name}.*?{said}") as raised:
        read_training_data(put(tmp_path / name, content), min_examples=1)
    assert len(str(raised.value)) < 1_000


def test_a_path_that_is_not_there_is_named(tmp_path):
    for read in (read_texts, read_training_data):
        with pytest.raises(InputError, match=r"nowhere\.jsonl: no such file or folder"):
            read(tmp_path / "nowhere.jsonl")


def test_a_folder_of_several_tables_says_to_give_one(tmp_path):
    put(tmp_path / "train.tsv", "One.\tjoy\n")
    put(tmp_path / "test.tsv", "Two.\tjoy\n")
    with pytest.raises(CorpusError, match=r"got: test\.tsv, train\.tsv.*Give one of these files"):
        read_training_data(tmp_path)


def test_label_folders_beside_label_files_are_refused(tmp_path):
    put(tmp_path / "joy" / "1.txt", "a")
    put(tmp_path / "awe.txt", "b")
    put(tmp_path / "grief.txt", "b")
    with pytest.raises(CorpusError, match=r"two ways.*joy/ with texts, beside awe\.txt"):
        read_training_data(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["text", "content", "labels", "emotion", "positive", "negative", "messages", "group", "data"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@REUSED_FOLDER
@given(
    content=st.binary(max_size=60)
    | st.lists(JSON, max_size=3).map(lambda some: rows(*some).encode())
    | st.text(st.sampled_from('a,"\t\n;|ü1'), max_size=40).map(str.encode)
)
@example(content=b"[" * 100_000)
@example(content=b"9" * 10_000)
@example(content=b'{"text": "\\ud800", "labels": ["\\ud800"]}')
@example(content="x\t\u00b2".encode())
@example(content=b"x\t" + b"1" * 5_000)
@example(content=b"a\0b")
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.tsv", "a.csv", "a.txt"])
def test_whatever_a_file_holds_is_texts_that_can_be_tokenized_or_one_error(tmp_path, name, content):
    put(tmp_path / "labels.txt", "joy\ngrief\n")
    try:
        corpus = read_texts(put(tmp_path / name, content))
    except AmygdalaError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert str(tmp_path) in message
        return
    for text in corpus.texts:
        assert text.text == text.text.strip() != ""
        text.text.encode("utf-8")  # what a tokenizer needs
        assert set(text.positive).isdisjoint(text.negative)
        assert set(corpus.concepts).issuperset((*text.positive, *text.negative))


@REUSED_FOLDER
@given(
    entries=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1, max_size=20)
        .map(str.strip)
        .filter(bool),
        st.lists(
            st.sampled_from(["joy", "grief", "quiet pride", "\u00e9t\u00e9"]), unique=True, min_size=1, max_size=3
        ),
        min_size=1,
        max_size=5,
    ),
    escaped=st.booleans(),
)
@example(entries={"one\u2028line\x85\x1c\x0bstill": ["joy"]}, escaped=False)
def test_written_rows_are_read_back_as_they_were(tmp_path, entries, escaped):
    lines = [json.dumps({"text": text, "labels": names}, ensure_ascii=escaped) for text, names in entries.items()]
    found = read_texts(put(tmp_path / "a.jsonl", "\n".join(lines)))
    assert {text.text: set(text.positive) for text in found.texts} == {
        text: set(names) for text, names in entries.items()
    }


# Quotes and delimiters


def texts_of(path):
    return {text.text: text.positive for text in read_texts(path).texts}


def test_a_csv_file_may_be_separated_by_tabs(tmp_path):
    assert texts_of(put(tmp_path / "a.csv", "text\tlabel\nOne, and more.\tjoy\n")) == {"One, and more.": ("joy",)}


def test_rows_of_empty_cells_before_a_header_are_passed_over(tmp_path):
    assert texts_of(put(tmp_path / "a.csv", ",\n\ntext,label\nOne.,joy\n")) == {"One.": ("joy",)}


def test_a_tsv_file_of_equal_rows_keeps_its_quotes(tmp_path):
    assert texts_of(put(tmp_path / "a.tsv", '"One."\tjoy\n\n"Two."\tgrief\n')) == {
        '"One."': ("joy",),
        '"Two."': ("grief",),
    }


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ('"One\nline."\tjoy\nTwo.\n', {'"One', 'line."', "Two."}),  # unequal with quotes too
        ('One\tjoy\n"Two.\n', {"One", '"Two.'}),  # a quote that never ends
        ('One.\n"Two\tand\nthree."\n', {"One.", '"Two', 'three."'}),  # one cell a row with quotes
    ],
)
def test_a_tsv_file_that_quotes_do_not_make_regular_keeps_them(tmp_path, content, texts):
    assert set(texts_of(put(tmp_path / "a.tsv", content))) == texts


def test_a_tsv_line_ends_at_a_newline_only_and_blank_ones_are_no_texts(tmp_path):
    content = "One\u2028line\x85more.\tjoy\n\n \t \nTwo.\tgrief\n"
    assert set(texts_of(put(tmp_path / "a.tsv", content))) == {"One\u2028line\x85more.", "Two."}


def test_a_mistake_in_a_table_is_at_the_line_where_its_row_begins(tmp_path):
    put(tmp_path / "labels.txt", "joy\n")
    with pytest.raises(CorpusError, match=r"a\.csv, line 5: "):
        read_texts(put(tmp_path / "a.csv", 'text,label\n"One\nand\nmore.",0\nTwo.,7\n'))
    with pytest.raises(CorpusError, match=r"a\.csv, line 3: not valid CSV"):
        read_texts(put(tmp_path / "a.csv", 'text,label\nOne.,0\n"Two."x,0\n'))


def test_a_cell_may_be_longer_than_the_csv_module_takes_and_its_limit_stays(tmp_path):
    limit = csv.field_size_limit()
    long = "word " * (limit // 4)
    assert set(texts_of(put(tmp_path / "a.csv", f"text,label\n{long},joy\n"))) == {long.strip()}
    assert csv.field_size_limit() == limit


def test_a_header_of_other_names_is_told_from_a_few_short_texts(tmp_path):
    assert set(texts_of(put(tmp_path / "a.tsv", "hello\tjoy\nIt was a day.\tawe\nNo more.\tawe\n"))) == {
        "hello", "It was a day.", "No more."
    }  # fmt: skip
    rows = "hello\tjoy\n" + "".join(f"day {number}\tawe\n" for number in range(5))
    assert "hello" in texts_of(put(tmp_path / "b.tsv", rows))


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv", "text,label\nOne day.,joy\nThe queue was long, and loud,grief\n", 3),
        ("a.csv", "One day.,joy\nThe queue was long, and loud,grief\n", 2),
        ("a.csv", "One day.\nThe queue was long, and loud\n", 2),
        ("a.tsv", "text\tlabel\nOne day.\tjoy\nThe queue was long\tand loud\tgrief\n", 3),
    ],
)
def test_a_row_with_more_cells_than_columns_is_an_error_at_its_line(tmp_path, name, content, line):
    with pytest.raises(CorpusError, match=rf"{name}, line {line}: more cells than columns"):
        read_texts(put(tmp_path / name, content))


def test_empty_cells_behind_a_row_and_columns_that_nobody_reads_are_no_mistake(tmp_path):
    found = texts_of(put(tmp_path / "a.csv", "text,label\nOne.,joy,,\nTwo.,grief\n"))
    assert {text: tuple(each) for text, each in found.items()} == {"One.": ("joy",), "Two.": ("grief",)}
    found = texts_of(put(tmp_path / "b.tsv", "One.\tjoy\tid1\nTwo.\tgrief\tid2\n"))
    assert {text: tuple(each) for text, each in found.items()} == {"One.": ("joy",), "Two.": ("grief",)}


@pytest.mark.parametrize(
    "content", ["sep=;\ntext;label\nOne.;joy\nTwo, too.;grief\n", "text|label\nOne.|joy\nTwo, too.|grief\n"]
)
def test_spreadsheets_may_name_the_delimiter_and_use_a_bar(tmp_path, content):
    found = texts_of(put(tmp_path / "a.csv", content))
    assert {text: tuple(each) for text, each in found.items()} == {"One.": ("joy",), "Two, too.": ("grief",)}


def test_tables_that_look_odd_are_read(tmp_path):
    for name, content, texts in (
        ("a.csv", "I am well\nIt rains,calm\nThe sun,joy\n", {"I am well": (), "It rains": ("calm",), "The sun": ("joy",)}),
        ("b.tsv", "\ttext\tlabel\n0\tI am\tjoy\n1\tYou are\tcalm\n", {"I am": ("joy",), "You are": ("calm",)}),
        ("c.csv", "Storm | BBC\nMarkets fall | CNN\nA day\n", {"Storm | BBC": (), "Markets fall | CNN": (), "A day": ()}),
        ("d.csv", 'great,"joy, pride"\ngood,"joy, calm"\ngood,"joy, hope"\nbad,"fear, sad, low"\n', {
            "great": ("joy", "pride"), "good": ("calm", "hope", "joy"), "bad": ("fear", "low", "sad"),
        }),
    ):  # fmt: skip
        found = texts_of(put(tmp_path / name, content))
        assert {text: tuple(sorted(labels)) for text, labels in found.items()} == texts, name


def test_labels_before_texts_need_a_header(tmp_path):
    rows = [f"{('joy', 'grief')[number % 2]},Day {number} was long and wet" for number in range(6)]
    with pytest.raises(CorpusError, match="labels before texts"):
        read_texts(put(tmp_path / "a.csv", "\n".join(rows)))
    found = texts_of(put(tmp_path / "b.csv", "\n".join(["label,text", *rows])))
    assert len(found) == 6
    assert all(len(each) == 1 for each in found.values())


def test_texts_to_judge_by_say_that_no_column_of_labels_was_found(tmp_path):
    found = read_texts(put(tmp_path / "a.csv", "text,sentiment\nOne day.,joy\nTwo boats.,grief\n"))
    assert not found.concepts
    assert "none of the columns text, sentiment is one of labels, label, emotions, emotion" in found.notices[-1]
    assert not read_texts(put(tmp_path / "b.csv", "text\nOne day.\nTwo boats.\n")).notices


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "The lamp went out\nin the middle of the night,\nand nobody noticed.\n\nThe second\nis about a boat.\n"),
        ("b.txt", "One day.\nTwo boats.\nOne day.\n"),
        ("c.jsonl", '{"text": "One day."}\n{"text": "Two boats."}\n'),
        ("d.csv", 'text,label\n"Two, too.",joy\nOne day.,grief\n'),
    ],
)  # fmt: skip
def test_a_file_means_the_same_texts_in_every_command(tmp_path, name, content):
    path = put(tmp_path / name, content)
    in_order, _ = read_in_order(path)
    assert set(in_order) == set(texts_of(path))
    assert len(in_order) == (3 if name == "b.txt" else 2)
