"""A corpus on disk and back.

    texts.jsonl   one unique text a row: id, text, group, split, scores, positive, negative
    corpus.json   format, sha256, concepts, counts, dropped, left_out, parameters

Both are written whole or not at all, `corpus.json` last: should a crash fall between them, its sha256 does not fit the
texts and reading says so. What is read back is checked row by row (a text's id is its hash) and as a whole (sha256),
since a silently damaged label is worse than none.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from amygdala_tl.corpus.assemble import count_examples
from amygdala_tl.corpus.hashing import corpus_sha256, text_id
from amygdala_tl.errors import CorpusError
from amygdala_tl.files import atomic_write_text, make_folder
from amygdala_tl.memory.tags import HIGHEST_SCORE, LOWEST_SCORE
from amygdala_tl.records import Corpus, CorpusText, Split

TEXTS_FILE = "texts.jsonl"
HEAD_FILE = "corpus.json"
FORMAT = 1

_ROW_FIELDS = frozenset({"id", "text", "group", "split", "scores", "positive", "negative"})
_REMEDY = "run extract again, or put back the folder as extract wrote it"


def write_corpus(corpus: Corpus, directory: str | os.PathLike[str]) -> None:
    """Write a corpus as a folder, replacing the corpus that is there.

    Raises:
        StorageError: the path is a file, or the disk is full, read-only or otherwise refuses.
    """
    folder = make_folder(directory)
    rows = (json.dumps(_row(text), ensure_ascii=False, allow_nan=False) for text in corpus.texts)
    atomic_write_text(folder / TEXTS_FILE, "".join(f"{row}\n" for row in rows))
    head = {
        "format": FORMAT,
        "sha256": corpus.sha256,
        "concepts": list(corpus.concepts),
        "counts": {
            "texts": {split: sum(text.split == split for text in corpus.texts) for split in ("train", "heldout")},
            "neutral": sum(text.neutral for text in corpus.texts),
            "concepts": count_examples(corpus),
        },
        "dropped": dict(corpus.dropped),
        "left_out": dict(corpus.left_out),
        "parameters": dict(corpus.parameters),
    }
    atomic_write_text(folder / HEAD_FILE, json.dumps(head, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def read_corpus(directory: str | os.PathLike[str]) -> Corpus:
    """Read a corpus folder and check that it is whole.

    Raises:
        CorpusError: a file is missing or damaged; it names the file and, for `texts.jsonl`, the line.
    """
    head = _read_head(Path(directory) / HEAD_FILE)
    texts = _read_texts(Path(directory) / TEXTS_FILE, frozenset(head.concepts))
    found = corpus_sha256(head.concepts, texts)
    if found != head.sha256:
        raise CorpusError(
            f"the texts and labels are not those that {HEAD_FILE} was written for",
            label=Path(directory) / TEXTS_FILE,
            got=f"sha256 {found[:16]}..., {len(texts)} texts",
            need=f"sha256 {head.sha256[:16]}...",
            remedy=_REMEDY,
        )
    return Corpus(head.concepts, texts, head.parameters, head.dropped, head.left_out, head.sha256)


@dataclass(frozen=True, slots=True)
class _Head:
    sha256: str
    concepts: tuple[str, ...]
    parameters: dict[str, Any]
    dropped: dict[str, int]
    left_out: dict[str, str]


def _row(text: CorpusText) -> dict[str, Any]:
    return {
        "id": text.id,
        "text": text.text,
        "group": text.group,
        "split": text.split,
        "scores": dict(text.scores),
        "positive": list(text.positive),
        "negative": list(text.negative),
    }


def _read_head(path: Path) -> _Head:
    head = _parse_object(_read(path), path)
    version = head.get("format")
    if version != FORMAT:
        _damaged(path, "this is a corpus format that is not known here", got=repr(version), need=str(FORMAT))
    sha256, concepts = head.get("sha256"), _strings(head.get("concepts"))
    if not isinstance(sha256, str):
        _damaged(path, "no sha256")
    if concepts is None or len(set(concepts)) != len(concepts):
        _damaged(path, "`concepts` is not a list of different names")
    parts: dict[str, dict[str, Any]] = {}
    for name, kind in (("parameters", object), ("dropped", int), ("left_out", str)):
        part = head.get(name)
        if not isinstance(part, dict) or not all(isinstance(value, kind) for value in part.values()):
            _damaged(path, f"`{name}` is not what it should be")
        parts[name] = part
    return _Head(sha256, concepts, parts["parameters"], parts["dropped"], parts["left_out"])


def _read_texts(path: Path, concepts: frozenset[str]) -> tuple[CorpusText, ...]:
    # Split at \n alone: str.splitlines would also break at U+2028 inside a text.
    lines = _read(path).split(b"\n")
    texts: list[CorpusText] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        text = _parse_row(_parse_object(line, path, number), concepts, path, number)
        if texts and text.id <= texts[-1].id:
            _damaged(path, "rows are out of order or there twice", line=number, got=f"id {text.id[:16]}...")
        texts.append(text)
    return tuple(texts)


def _parse_row(row: Mapping[str, Any], concepts: frozenset[str], path: Path, line: int) -> CorpusText:
    if row.keys() != _ROW_FIELDS:
        _damaged(path, "fields missing or unknown", line=line, got=", ".join(row), need=", ".join(sorted(_ROW_FIELDS)))
    identity, text, group, split = (row[name] for name in ("id", "text", "group", "split"))
    if not (isinstance(identity, str) and isinstance(text, str) and isinstance(group, str)):
        _damaged(path, "`id`, `text` or `group` is not a string", line=line)
    if split not in ("train", "heldout"):
        _damaged(path, "unknown split", line=line, got=repr(split), need="train or heldout")
    side: Split = split
    if identity != _text_id_or_none(text):
        _damaged(path, "the id is not the sha256 of the text", line=line, got=f"id {identity[:16]}...")
    scores = row["scores"]
    if not isinstance(scores, dict) or not all(_is_score(score) for score in scores.values()):
        _damaged(path, "`scores` is not name -> number in 0-10", line=line)
    positive, negative = _strings(row["positive"]), _strings(row["negative"])
    if positive is None or negative is None or not concepts.issuperset(positive + negative):
        _damaged(path, f"`positive` or `negative` has a name that is no concept of {HEAD_FILE}", line=line)
    if not set(positive).isdisjoint(negative):
        _damaged(path, "a concept is both in `positive` and in `negative`", line=line)
    floats = {name: float(score) for name, score in scores.items()}
    return CorpusText(identity, text, group, side, floats, positive, negative)


def _text_id_or_none(text: str) -> str | None:
    try:
        return text_id(text)
    except UnicodeEncodeError:
        return None


def _is_score(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return LOWEST_SCORE <= value <= HIGHEST_SCORE


def _strings(value: object) -> tuple[str, ...] | None:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CorpusError("is missing, so the corpus is not whole", label=path, remedy=_REMEDY) from error
    except OSError as error:
        raise CorpusError("cannot be read", label=path, got=error.strerror, remedy="check its permissions") from error


def _parse_object(data: bytes, path: Path, line: int | None = None) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        _damaged(path, "no valid JSON", line=line if line is not None else error.lineno, got=error.msg)
    except UnicodeDecodeError:
        _damaged(path, "not UTF-8", line=line)
    except (ValueError, RecursionError) as error:
        _damaged(path, "no valid JSON", line=line, got=str(error))
    if not isinstance(value, dict):
        _damaged(path, "no JSON object", line=line, got=type(value).__name__)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _damaged(
    path: Path, what: str, *, line: int | None = None, got: str | None = None, need: str | None = None
) -> NoReturn:
    label = f"{path}" if line is None else f"{path}, line {line}"
    raise CorpusError(what, label=label, got=got, need=need, remedy=_REMEDY) from None
