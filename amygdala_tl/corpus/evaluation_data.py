"""Other texts (`--data`) to judge readouts on, labelled or not, in the forms that people have them.

    a folder                        as for `train`: every text in it, whatever its split
    texts.jsonl                     {"text": ..., "labels": ["joy", ...]} a line; `labels` may be missing
                                    {"text": ..., "positive": [...], "negative": [...], "group": ...}
    conversation.jsonl              {"messages": [{"role": ..., "content": ...}, ...]} or {"role": ..., "content": ...} a line
    texts.tsv                       text <tab> labels with commas between; numbers are looked up in a labels.txt beside it
    anything.txt                    passages with blank lines between

A text without a label is a negative of every concept that the file labels at all. An unlabelled file has no labels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from amygdala_tl.corpus.folders import read_training_data
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.decode import decode_lines
from amygdala_tl.errors import InputError
from amygdala_tl.names import fold_name
from amygdala_tl.records import Split

_NUMBER = re.compile(r"[0-9]+")
_SEE = "see docs/corpora.md, 'Other texts'"


@dataclass(frozen=True, slots=True)
class EvaluationText:
    """One text.

    Attributes:
        text: what the model reads.
        group: texts that depend on each other share it.
        positive: the text's labels.
        negative: labels that the text does not have; None for all other labels of the file.
    """

    text: str
    group: str
    positive: tuple[str, ...]
    negative: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """Texts in the file's order, and all labels that occur in it, case-folded; unlabelled texts have no labels."""

    texts: tuple[EvaluationText, ...]
    labels: frozenset[str]


class _Row(msgspec.Struct):
    """A line of a JSONL file: a text, a message or a conversation."""

    text: str | None = None
    content: str | None = None
    positive: list[str] | None = None
    labels: list[str] | None = None
    negative: list[str] | None = None
    group: str | int | float | None = None
    messages: list["_Row"] | None = None


def read_evaluation_data(path: Path) -> EvaluationData:
    """Read texts from a folder or a file.

    Raises:
        InputError: the file is missing, not UTF-8, damaged or without text; the error says where.
        CorpusError: a folder of texts is damaged.
    """
    if path.is_dir():
        return of_corpus(read_training_data(path, min_examples=1, heldout_fraction=0.0))
    readers = {".jsonl": _jsonl, ".tsv": _tsv}
    found = readers.get(path.suffix.casefold(), _passages)(path, _content(path))
    if not found:
        raise InputError("has no text", label=path, remedy="check `data`")
    labels = frozenset(label for text in found for label in (*text.positive, *(text.negative or ())))
    return EvaluationData(tuple(found), labels)


def of_corpus(corpus: Corpus, split: Split | None = None) -> EvaluationData:
    """Return the labelled texts of a corpus, or those of one split."""
    texts = [
        EvaluationText(text.text, text.group, text.positive, text.negative)
        for text in corpus.texts
        if not text.neutral and split in (None, text.split)
    ]
    return EvaluationData(tuple(texts), frozenset(corpus.concepts))


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError("cannot be read", label=path, got=cause, remedy="check `data`") from cause


def _jsonl(path: Path, content: str) -> list[EvaluationText]:
    found = []
    for place, row in decode_lines(content.encode(), _Row, label=str(path), remedy=_SEE):
        group = place.rpartition(", ")[2] if row.group is None else str(row.group)
        found += [_text(place, one, group) for one in ([row] if row.messages is None else row.messages)]
    return found


def _text(place: str, row: _Row, group: str) -> EvaluationText:
    text = row.content if row.text is None else row.text
    if text is None or not text.strip():
        raise _bad_line(place, "no text")
    positive = _folded(row.labels or [] if row.positive is None else row.positive)
    negative = None if row.negative is None else _folded(row.negative)
    if both := set(positive) & set(negative or ()):
        raise _bad_line(place, f"positive and negative at once: {', '.join(sorted(both))}")
    return EvaluationText(text, group, positive, negative)


def _tsv(path: Path, content: str) -> list[EvaluationText]:
    names_file = path.parent / "labels.txt"
    names = [name for _, name in _lines(_content(names_file))] if names_file.is_file() else []
    found = []
    for number, line in _lines(content):
        text, *rest = line.split("\t")
        if not text.strip():
            raise _bad_line(f"{path}, line {number}", "no text")
        try:
            labels = [_named(names, part.strip()) for part in rest[0].split(",")] if rest else []
        except IndexError as cause:
            got = f"label {rest[0][:40]} of {len(names)} in labels.txt"
            raise _bad_line(f"{path}, line {number}", got) from cause
        found.append(EvaluationText(text, f"line {number}", _folded(labels)))
    return found


def _passages(path: Path, content: str) -> list[EvaluationText]:
    blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n", content)]
    return [EvaluationText(block, f"passage {number}", ()) for number, block in enumerate(blocks) if block]


def _named(names: Sequence[str], label: str) -> str:
    """Look up a label that is a number, if there are names; raise IndexError if it is past their end."""
    if not (names and _NUMBER.fullmatch(label)):
        return label
    digits = label.lstrip("0") or "0"
    if len(digits) > len(str(len(names))):  # int() refuses thousands of digits
        raise IndexError(label)
    return names[int(digits)]


def _lines(content: str) -> list[tuple[int, str]]:
    """Return the non-blank lines with their numbers; a line feed alone ends a line, as in JSON."""
    lines = enumerate(content.split("\n"), start=1)
    return [(number, line.removesuffix("\r")) for number, line in lines if line.strip()]


def _folded(labels: Sequence[str]) -> tuple[str, ...]:
    folded = (fold_name(label.strip()) for label in labels)
    return tuple(label for label in dict.fromkeys(folded) if label)


def _bad_line(place: str, got: str) -> InputError:
    return InputError("the line is not a text with labels", label=place, got=got, remedy=_SEE)
