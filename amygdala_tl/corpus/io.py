"""A corpus on disk and back.

    texts.jsonl   one unique text a row: id, text, group, split, scores, positive, negative
    corpus.json   format, sha256, concepts, counts, dropped, left_out, examples, notices, parameters

Both files are written whole or not at all, `corpus.json` last. If a crash falls between them, its sha256 does not fit the
texts and reading reports it. Reading checks every row (a text's id is its hash) and the whole (sha256), since a silently
damaged label is worse than none.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec

from amygdala_tl.corpus.hashing import corpus_sha256, text_id
from amygdala_tl.corpus.labels import SPLITS
from amygdala_tl.corpus.record import Corpus, count_examples
from amygdala_tl.decode import decode, decode_lines
from amygdala_tl.errors import CorpusError
from amygdala_tl.files import Kind, atomic_write_bytes, check_outputs, make_folder, read_file
from amygdala_tl.kinds import json_with, text_with
from amygdala_tl.memory.tags import HIGHEST_SCORE, LOWEST_SCORE
from amygdala_tl.records import CorpusText, Split

TEXTS_FILE = "texts.jsonl"
HEAD_FILE = "corpus.json"
FORMAT = 1
OUTPUTS = {
    TEXTS_FILE: Kind("the texts of a corpus", text_with(r'\A\{"id":"[0-9a-f]{64}","text":"')),
    HEAD_FILE: Kind("the head of a corpus", json_with("format", "sha256", "concepts", "parameters")),
}
"""What `write_corpus` writes into its folder."""

_REMEDY = "run extract again, or restore the folder as extract wrote it"


class _Head(msgspec.Struct, kw_only=True):
    format: int
    sha256: str
    concepts: tuple[str, ...]
    counts: dict[str, Any] = {}  # for people
    dropped: dict[str, int]
    left_out: dict[str, str]
    parameters: dict[str, Any]
    examples: dict[str, str] = {}
    notices: tuple[str, ...] = ()


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    text: str
    group: str
    split: Split
    scores: dict[str, Annotated[float, msgspec.Meta(ge=LOWEST_SCORE, le=HIGHEST_SCORE)]]
    positive: tuple[str, ...]
    negative: tuple[str, ...]


def write_corpus(corpus: Corpus, directory: str | os.PathLike[str]) -> None:
    """Write a corpus as a folder, replacing the corpus that is there.

    Raises:
        StorageError: the path is a file, another kind of file is in the way, or the disk refuses.
    """
    folder = make_folder(directory, private=True)
    check_outputs({folder / name: kind for name, kind in OUTPUTS.items()})
    atomic_write_bytes(folder / TEXTS_FILE, msgspec.json.Encoder().encode_lines(corpus.texts), OUTPUTS[TEXTS_FILE])
    head = _Head(
        format=FORMAT,
        sha256=corpus.sha256,
        concepts=corpus.concepts,
        counts={
            "texts": {split: sum(text.split == split for text in corpus.texts) for split in SPLITS},
            "neutral": sum(text.neutral for text in corpus.texts),
            "concepts": count_examples(corpus),
        },
        dropped=dict(corpus.dropped),
        left_out=dict(corpus.left_out),
        parameters=dict(corpus.parameters),
        examples=dict(corpus.examples),
        notices=corpus.notices,
    )
    atomic_write_bytes(folder / HEAD_FILE, msgspec.json.format(msgspec.json.encode(head)) + b"\n", OUTPUTS[HEAD_FILE])


def read_corpus(directory: str | os.PathLike[str]) -> Corpus:
    """Read a corpus folder and check that it is whole.

    Raises:
        CorpusError: a file is missing or damaged; the error names the file and, for `texts.jsonl`, the line.
    """
    folder = Path(directory)
    path = folder / HEAD_FILE
    head = decode(_read(path), _Head, label=str(path), error=CorpusError, remedy=_REMEDY)
    if head.format != FORMAT:
        raise _damaged(path, "unknown corpus format", got=head.format, need=FORMAT)
    if len(set(head.concepts)) != len(head.concepts):
        raise _damaged(path, "`concepts` names a concept twice")
    path = folder / TEXTS_FILE
    texts = _read_texts(path, frozenset(head.concepts))
    found = corpus_sha256(head.concepts, texts)
    if found != head.sha256:
        got, need = f"sha256 {found[:16]}..., {len(texts)} texts", f"sha256 {head.sha256[:16]}..."
        raise _damaged(path, f"{HEAD_FILE} was written for other texts and labels", got=got, need=need)
    said = (head.parameters, head.dropped, head.left_out, head.sha256, head.examples, head.notices)
    return Corpus(head.concepts, texts, *said)


def _read_texts(path: Path, concepts: frozenset[str]) -> tuple[CorpusText, ...]:
    texts: list[CorpusText] = []
    for place, row in decode_lines(_read(path), _Row, label=str(path), error=CorpusError, remedy=_REMEDY):
        if row.id != text_id(row.text):
            raise _damaged(place, "the id is not the sha256 of the text", got=f"id {row.id[:16]}...")
        if not concepts.issuperset(row.positive + row.negative):
            raise _damaged(place, f"`positive` or `negative` has a name that is not a concept of {HEAD_FILE}")
        if not set(row.positive).isdisjoint(row.negative):
            raise _damaged(place, "a concept is both in `positive` and in `negative`")
        if texts and row.id <= texts[-1].id:
            raise _damaged(place, "the row is out of order or a duplicate", got=f"id {row.id[:16]}...")
        texts.append(CorpusText(row.id, row.text, row.group, row.split, row.scores, row.positive, row.negative))
    return tuple(texts)


def _read(path: Path) -> bytes:
    if not path.exists():
        raise _damaged(path, "the file is missing, so the corpus is not whole")
    return read_file(path, error=CorpusError, remedy="check the path and its permissions")


def _damaged(place: object, what: str, *, got: object = None, need: object = None) -> CorpusError:
    return CorpusError(what, label=place, got=got, need=need, remedy=_REMEDY)
