import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amygdala_tl.corpus import LabelRules, build_corpus, read_again, read_training_data, write_corpus
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.errors import CorpusError, InputError
from amygdala_tl.records import CorpusText, Node


def put(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return root


def read(root: Path, min_examples: int = 1) -> Corpus:
    return read_training_data(root, min_examples=min_examples, heldout_fraction=0.0)


def row(corpus: Corpus, text: str) -> CorpusText:
    (found,) = [row for row in corpus.texts if row.text == text]
    return found


def labels(corpus: Corpus) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    return {text.text: (text.positive, text.negative) for text in corpus.texts}


def test_a_corpus_folder_comes_back_as_written(tmp_path: Path) -> None:
    nodes = [
        Node(f"n{i}", "note", f"Note {i} about the harbour, long enough.\n{('joy', 'grief')[i % 2]}:9")
        for i in range(30)
    ]
    corpus = build_corpus(nodes, LabelRules(min_content_chars=10))
    write_corpus(corpus, tmp_path)
    assert read_training_data(tmp_path, min_examples=99, seed=5) == corpus


def test_half_a_corpus_folder_is_damaged_and_not_some_other_layout(tmp_path: Path) -> None:
    put(tmp_path, {"corpus.json": "{}", "direct/joy.txt": "a\nb"})
    with pytest.raises(CorpusError, match=r"corpus\.json"):
        read_training_data(tmp_path)


def test_concept_folders_label_exactly_what_they_say(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "Joy/positive/1.txt": "The swing goes high.",
            "Joy/positive/2.txt": "\ufeffShared by two.\r\nSecond line.\r\n",
            "Joy/negative/1.txt": "Rain on the roof.",
            "grief/positive/1.txt": "Rain on the roof.\n",
            "grief/positive/2.txt": "Shared by two.\nSecond line.",
            "grief/negative/a.txt": "The swing goes high.",
            "grief/negative/_plain.txt": "A list of stations.",
            "grief/negative/empty.txt": " \n",
            "grief/notes.md": "not data",
        },
    )
    corpus = read(tmp_path)
    assert corpus.concepts == ("grief", "joy")
    assert labels(corpus) == {
        "The swing goes high.": (("joy",), ("grief",)),
        "Shared by two.\nSecond line.": (("grief", "joy"), ()),
        "Rain on the roof.": (("grief",), ("joy",)),
        "A list of stations.": ((), ()),
    }
    assert row(corpus, "A list of stations.").neutral
    assert dict(corpus.dropped) == {"empty file": 1, "in no layout (ignored)": 1, "duplicate text": 3}
    assert corpus.examples["in no layout (ignored)"] == "grief/notes.md"


def test_texts_of_one_day_in_concept_folders_are_one_group(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "joy/positive/journal-2031-03-04.md#a.txt": "One.",
            "joy/negative/journal-2031-03-04.md#b.txt": "Two.",
            "joy/negative/loose.txt": "Three.",
        },
    )
    corpus = read(tmp_path)
    assert row(corpus, "One.").group == row(corpus, "Two.").group == "2031-03-04"
    assert row(corpus, "Three.").group == row(corpus, "Three.").id


def test_stories_paired_and_direct_are_read_together(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "stories/joy.txt": "A story\nof two lines.\n\nAnd another one.",
            "stories/_setting.txt": "A room with a table.",
            "paired/kitchen/joy.txt": "Bread, and she laughed.",
            "paired/kitchen/Calm.txt": "Bread, and she waited.",
            "paired/kitchen/baseline.txt": "Bread.",
            "paired/harbour/grief.txt": "Boats, one missing.",
            "direct/joy.txt": "I could dance.\nI could sing.\n\n",
            "direct/grief.txt": "It is gone.\nAll of it.\n\nNobody came.\n \nStill here.",
            "direct/_neutral.txt": "The bus is green.\nThe bus is late.",
            "direct/.hidden.txt": "not data",
            "paired/readme.txt": "not data",
        },
    )
    corpus = read(tmp_path)
    joy, grief, calm = (("joy",), ("calm", "grief")), (("grief",), ("calm", "joy")), (("calm",), ("grief", "joy"))
    assert corpus.concepts == ("calm", "grief", "joy")
    assert labels(corpus) == {
        "A story\nof two lines.": joy,
        "And another one.": joy,
        "A room with a table.": ((), ()),
        "Bread, and she laughed.": joy,
        "Bread, and she waited.": calm,
        "Bread.": ((), ("calm", "grief", "joy")),
        "Boats, one missing.": grief,
        "I could dance.": joy,
        "I could sing.": joy,
        "It is gone.\nAll of it.": grief,
        "Nobody came.": grief,
        "Still here.": grief,
        "The bus is green.": ((), ()),
        "The bus is late.": ((), ()),
    }
    assert row(corpus, "Bread.").group == row(corpus, "Bread, and she waited.").group == "kitchen"
    assert dict(corpus.dropped) == {"in no layout (ignored)": 1}
    assert corpus.parameters["layouts"] == ["direct", "paired", "stories"]


def test_a_text_under_several_concepts_is_one_text_and_keeps_its_scenario(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "direct/joy.txt": "We danced.\nWe sang.",
            "paired/square/love.txt": "We danced.",
            "direct/grief.txt": "We wept.",
        },
    )
    danced = row(read(tmp_path), "We danced.")
    assert (danced.positive, danced.negative, danced.group) == (("joy", "love"), ("grief",), "square")


def test_a_concept_may_be_called_baseline_outside_of_paired(tmp_path: Path) -> None:
    put(tmp_path, {"direct/baseline.txt": "The bus is green.", "direct/joy.txt": "We danced."})
    assert read(tmp_path).concepts == ("baseline", "joy")


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"joy/positive/1.txt": "Same.", "joy/negative/2.txt": "Same."}, ("joy/positive/1.txt", "joy/negative/2.txt")),
        (
            {"paired/a/joy.txt": "Same.", "paired/b/baseline.txt": "Same.", "paired/b/awe.txt": "Other."},
            ("paired/a/joy.txt", "paired/b/baseline.txt"),
        ),
    ],
)
def test_a_text_both_positive_and_negative_of_one_concept_names_both_files(
    tmp_path: Path, files: dict[str, str | bytes], named: tuple[str, str]
) -> None:
    with pytest.raises(CorpusError, match="a positive and a negative of joy") as caught:
        read(put(tmp_path, files))
    assert all(name in str(caught.value) for name in named)


@pytest.mark.parametrize(
    "data", ["é".encode("latin-1"), "hello".encode("utf-16"), "hello".encode("utf-16-le"), b"\xff\xfe"]
)
def test_another_encoding_is_refused_by_the_name_of_the_file(tmp_path: Path, data: bytes) -> None:
    put(tmp_path, {"direct/joy.txt": "We danced.", "direct/grief.txt": data})
    with pytest.raises(CorpusError, match=r"direct/grief\.txt: not a UTF-8 text"):
        read(tmp_path)


@pytest.mark.parametrize("files", [{}, {"notes/a.md": "x", "labels.txt": "y"}, {"README.txt": "z"}])
def test_a_folder_of_no_known_layout_is_told_the_layouts(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    with pytest.raises(CorpusError, match=r"layout.*<concept>/positive.*stories/.*paired/.*direct/"):
        read(put(tmp_path, files))


def test_two_ways_of_labelling_in_one_folder_are_refused(tmp_path: Path) -> None:
    put(tmp_path, {"joy/positive/1.txt": "a", "stories/joy.txt": "b"})
    with pytest.raises(CorpusError, match=r"two ways.*joy/.*stories/"):
        read(tmp_path)


def test_a_path_that_is_missing_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing: no such file or folder"):
        read(tmp_path / "missing")


def test_rules_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="min_examples"):
        read_training_data(tmp_path, min_examples=0)
    with pytest.raises(InputError, match="heldout_fraction"):
        read_training_data(tmp_path, heldout_fraction=1.0)


def test_concepts_with_too_few_texts_are_left_out_and_their_texts_do_not_pass_for_neutral(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        f"{concept}/{side}/{i}.txt": f"{concept} {side} {i}"
        for concept, n in (("joy", 5), ("awe", 2))
        for side in ("positive", "negative")
        for i in range(n)
    }
    corpus = read(put(tmp_path, files), min_examples=5)
    assert corpus.concepts == ("joy",)
    assert dict(corpus.left_out) == {"awe": "2 positive and 2 negative training texts, need 5"}
    assert dict(corpus.dropped) == {"no example of any concept": 4}
    assert not any(text.neutral for text in corpus.texts)


def test_a_folder_without_enough_of_anything_says_what_comes_closest(tmp_path: Path) -> None:
    put(tmp_path, {"direct/joy.txt": "a\nb\nc", "direct/awe.txt": "d"})
    with pytest.raises(CorpusError, match=r"at best joy with 3 positive and 1 negative.*lower `min_examples`"):
        read(tmp_path, min_examples=5)
    with pytest.raises(CorpusError, match="at best joy with 3 positive and 0 negative"):
        read(put(tmp_path / "b", {"direct/joy.txt": "a\nb\nc", "direct/_x.txt": "d"}), min_examples=3)


LINES = st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(texts=st.fixed_dictionaries({"joy": LINES, "awe": LINES, "calm": LINES}), bom=st.booleans())
def test_a_text_a_line_and_a_text_a_block_are_the_same_corpus(
    tmp_path_factory: pytest.TempPathFactory, texts: dict[str, list[str]], bom: bool
) -> None:
    roots = []
    for separator in ("\n", "\n\n", "\r\n \r\n"):
        root = tmp_path_factory.mktemp("layout")
        content = {c: ("\ufeff" if bom else "") + separator.join(lines) + separator for c, lines in texts.items()}
        roots.append(put(root, {f"direct/{concept}.txt": text for concept, text in content.items()}))
    if all(set(lines) == set(texts["joy"]) for lines in texts.values()):
        for root in roots:
            with pytest.raises(CorpusError, match="no concept has enough"):
                read(root)
        return
    corpus = read(roots[0])
    assert corpus == read(roots[1]) == read(roots[2])
    for text in corpus.texts:
        for concept in corpus.concepts:
            assert (concept in text.positive) == (text.text in texts[concept])
            assert (concept in text.negative) == (text.text not in texts[concept])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(scenarios=st.lists(st.sampled_from("abcdefgh"), min_size=2, unique=True), seed=st.integers(0, 50))
def test_a_scenario_is_never_on_both_sides_of_the_split(
    tmp_path_factory: pytest.TempPathFactory, scenarios: list[str], seed: int
) -> None:
    root = tmp_path_factory.mktemp("paired")
    put(root, {f"paired/{s}/{c}.txt": f"{s}, {c}" for s in scenarios for c in ("joy", "awe", "baseline")})
    try:
        corpus = read_training_data(root, min_examples=1, heldout_fraction=0.5, seed=seed)
    except CorpusError:
        return
    for scenario in scenarios:
        assert len({text.split for text in corpus.texts if text.group == scenario}) == 1


def test_a_folder_is_read_again_by_the_parameters_of_its_corpus(tmp_path: Path) -> None:
    files = {f"direct/{name}.txt": "".join(f"{name} {n} by the sea.\n" for n in range(40)) for name in ("joy", "grief")}
    root = put(tmp_path, files | {"direct/awe.txt": "One.\nTwo.\nThree.\nFour.\nFive.\nSix.\nSeven.\nEight."})
    corpus = read_training_data(root, min_examples=9, heldout_fraction=0.3, seed=4)
    assert corpus.concepts == ("grief", "joy")
    assert read_training_data(root, seed=4, heldout_fraction=0.3).sha256 != corpus.sha256
    # As a manifest keeps them.
    assert read_again(root, json.loads(json.dumps(corpus.parameters))) == corpus
    write_corpus(corpus, tmp_path / "written")
    assert read_again(tmp_path / "written", corpus.parameters) == corpus
    with pytest.raises(InputError, match=r"corpus parameters: unexpected value at `min_examples`"):
        read_again(root, {"min_examples": "many"})
