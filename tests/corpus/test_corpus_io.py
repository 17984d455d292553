import functools
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amygdala_tl.corpus import LabelRules, build_corpus, read_corpus, write_corpus
from amygdala_tl.corpus.hashing import text_id
from amygdala_tl.corpus.reasons import Tally
from amygdala_tl.corpus.record import Corpus, assemble
from amygdala_tl.errors import CorpusError, StorageError
from amygdala_tl.records import CorpusText, Node

NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6)
WRITTEN_ONCE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@functools.cache
def small_corpus() -> Corpus:
    tags = ("joy:9 calm:3.5", "grief:8", "")
    nodes = [
        Node(
            f"note-{i}.md#x",
            "semantic",
            f"Note {i}: \u2014 the \u2028 quiet of “the harbour” at {i} o'clock.\n\n{tags[i % 3]}",
        )
        for i in range(24)
    ]
    return build_corpus(nodes, LabelRules(min_examples=2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("corpus")
    write_corpus(small_corpus(), path)
    yield path
    shutil.rmtree(path)


@st.composite
def corpora(draw: st.DrawFn) -> Corpus:
    concepts = tuple(sorted(draw(st.sets(NAMES, min_size=1, max_size=4))))
    rows = []
    for text in draw(st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), max_size=6)):
        sides = draw(st.fixed_dictionaries({c: st.sampled_from("+-0") for c in concepts}))
        rows.append(
            CorpusText(
                id=text_id(text),
                text=text,
                group=draw(st.text(st.characters(codec="utf-8"), max_size=8)),
                split=draw(st.sampled_from(["train", "heldout"])),
                scores=draw(st.dictionaries(NAMES, st.floats(0, 10), max_size=3)),
                positive=tuple(c for c in concepts if sides[c] == "+"),
                negative=tuple(c for c in concepts if sides[c] == "-"),
            )
        )
    counts = st.dictionaries(NAMES, st.integers(1, 9), max_size=2)
    return assemble(
        concepts,
        rows,
        parameters=draw(st.dictionaries(NAMES, st.integers() | st.none() | st.lists(NAMES), max_size=3)),
        tally=Tally(Counter(draw(counts)), dict.fromkeys(draw(counts), "such")),
        notices=tuple(draw(st.lists(NAMES, max_size=2))),
        left_out=draw(st.dictionaries(NAMES, st.text(st.characters(codec="utf-8")), max_size=2)),
    )


@WRITTEN_ONCE
@given(corpora())
def test_a_corpus_read_back_is_the_corpus_that_was_written(tmp_path: Path, corpus: Corpus) -> None:
    write_corpus(corpus, tmp_path)
    assert read_corpus(tmp_path) == corpus


def test_a_built_corpus_survives_the_disk_and_the_files_are_readable_by_programs(folder: Path) -> None:
    corpus = small_corpus()
    assert read_corpus(folder) == corpus
    with (folder / "texts.jsonl").open(encoding="utf-8") as rows:
        assert [json.loads(row)["id"] for row in rows] == [text.id for text in corpus.texts]
    head = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
    assert head["concepts"] == ["grief", "joy"]
    assert head["counts"]["neutral"] == 8
    assert sum(head["counts"]["concepts"]["joy"][split]["positive"] for split in ("train", "heldout")) == 8


def test_writing_again_replaces_the_corpus_and_leaves_no_other_file(tmp_path: Path) -> None:
    first, second = assemble(("joy",), (), parameters={}, tally=Tally(), left_out={}), small_corpus()
    write_corpus(first, tmp_path / "new" / "corpus")
    write_corpus(second, tmp_path / "new" / "corpus")
    assert read_corpus(tmp_path / "new" / "corpus") == second
    assert sorted(p.name for p in (tmp_path / "new" / "corpus").iterdir()) == ["corpus.json", "texts.jsonl"]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.sampled_from(["texts.jsonl", "texts.jsonl", "corpus.json"]), place=st.floats(0, 1), mask=st.integers(1, 255)
)
def test_one_flipped_byte_is_found_or_harmless(
    tmp_path: Path, folder: Path, name: str, place: float, mask: int
) -> None:
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[int(place * (len(data) - 1))] ^= mask
    (tmp_path / name).write_bytes(data)
    try:
        found = read_corpus(tmp_path)
    except CorpusError:
        return
    # The sha256 does not cover what says how the corpus was made; texts and labels it does.
    whole = small_corpus()
    assert (found.concepts, found.texts, found.sha256) == (whole.concepts, whole.texts, whole.sha256)
    assert name == "corpus.json" or found == whole


@WRITTEN_ONCE
@given(st.binary(max_size=60) | st.sampled_from([b"[" * 100_000, b"1" * 10_000, b'{"format":1}', b"[]", b"NaN"]))
def test_any_bytes_in_the_place_of_a_file_are_a_corpus_error(tmp_path: Path, folder: Path, data: bytes) -> None:
    for name in ("texts.jsonl", "corpus.json"):
        for file in folder.iterdir():
            shutil.copy(file, tmp_path)
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CorpusError, match=name.replace(".", r"\.")):
            read_corpus(tmp_path)


def edited(folder: Path, target: Path, line: int, **changes: object) -> Path:
    for file in folder.iterdir():
        shutil.copy(file, target)
    rows = (folder / "texts.jsonl").read_text(encoding="utf-8").split("\n")
    rows[line - 1] = json.dumps({**json.loads(rows[line - 1]), **changes})
    (target / "texts.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return target


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "test"}, "line 3: unexpected value at `split` .got: invalid enum value 'test'"),
        ({"split": ["train"]}, "line 3: unexpected value at `split`"),
        ({"text": "another text"}, "line 3: the id is not the sha256"),
        ({"text": "\ud800"}, "line 3: the id is not the sha256"),
        ({"id": 7}, "line 3: unexpected value at `id`"),
        ({"id": "0" * 64}, "line 3: the id is not"),
        ({"scores": {"joy": 11}}, "line 3: unexpected value at `scores.* <= 10"),
        ({"scores": {"joy": True}}, "line 3: unexpected value at `scores"),
        ({"scores": {"joy": 10**400}}, "line 3: unexpected value at `scores"),
        ({"scores": []}, "line 3: unexpected value at `scores`"),
        ({"positive": ["awe"]}, "line 3: `positive` or `negative` has a name"),
        ({"positive": ["joy"], "negative": ["joy"]}, "line 3: a concept is both"),
        ({"more": 1}, "line 3: .*unknown field `more`"),
        ({"group": "another"}, "texts.jsonl: corpus.json was written for other texts"),
    ],
)
def test_a_damaged_row_is_named_by_file_and_line(
    folder: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        read_corpus(edited(folder, tmp_path, 3, **changes))


def test_bad_json_rows_twice_and_cut_files_are_named(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    rows = (folder / "texts.jsonl").read_bytes().split(b"\n")
    (tmp_path / "texts.jsonl").write_bytes(b"\n".join([rows[0], rows[1][:-5], *rows[2:]]))
    with pytest.raises(CorpusError, match=r"texts\.jsonl, line 2: not valid JSON"):
        read_corpus(tmp_path)
    (tmp_path / "texts.jsonl").write_bytes(b"\n".join([rows[0], rows[0], *rows[1:]]))
    with pytest.raises(CorpusError, match="line 2: the row is out of order or a duplicate"):
        read_corpus(tmp_path)
    (tmp_path / "texts.jsonl").write_bytes(b"\n".join(rows[:5]))
    with pytest.raises(CorpusError, match=r"5 texts; need: sha256"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("name", ["texts.jsonl", "corpus.json"])
def test_a_missing_half_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CorpusError, match=f"{name}: the file is missing"):
        read_corpus(tmp_path)


def test_an_output_path_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    file = tmp_path / "taken"
    file.write_text("mine")
    for target in (file, file / "below"):
        with pytest.raises(StorageError, match="a file is where a folder should be"):
            write_corpus(small_corpus(), target)
    assert file.read_text() == "mine"


def test_a_disk_that_is_full_half_way_leaves_the_old_corpus_whole(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "corpus"
    shutil.copytree(folder, target)
    script = """
import resource, sys
from amygdala_tl.corpus import read_corpus, write_corpus
from amygdala_tl.errors import StorageError
corpus = read_corpus(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_corpus(corpus, sys.argv[1])
except StorageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, str(target)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "texts.jsonl: the file cannot be written (got: File too large). Free some space" in done.stdout
    assert read_corpus(target) == small_corpus()
    assert sorted(path.name for path in target.iterdir()) == ["corpus.json", "texts.jsonl"]
