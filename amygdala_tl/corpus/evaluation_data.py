"""`--data`: other texts to judge readouts on, labelled or not, as people have them.

    a folder                        as for `train`: every text in it, whatever its split
    texts.jsonl                     {"text": ..., "labels": ["joy", ...]} a line; `labels` may be missing
                                    {"text": ..., "positive": [...], "negative": [...], "group": ...}
    conversation.jsonl              {"messages": [{"role": ..., "content": ...}, ...]} or {"role": ..., "content": ...} a line
    texts.tsv                       text <tab> labels with commas between; numbers are looked up in a labels.txt beside it
    anything.txt                    passages with blank lines between

A text without a label is a negative of every concept that the file labels at all; in an unlabelled file nothing is known.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amygdala_tl.corpus.folders import read_training_data
from amygdala_tl.errors import InputError
from amygdala_tl.names import fold_name
from amygdala_tl.records import Corpus, Split

_NUMBER = re.compile(r"[0-9]+")
_SEE = "see README, 'Other texts'"


@dataclass(frozen=True, slots=True)
class EvaluationText:
    """One text.

    Attributes:
        text: what the model reads.
        group: equal for texts that are not independent.
        positive: labels that it has.
        negative: labels that it has not; None for all that the file knows and `positive` does not hold.
    """

    text: str
    group: str
    positive: tuple[str, ...]
    negative: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """Texts with the labels that are known of them.

    Attributes:
        texts: in the file's order.
        labels: all labels that occur, case-folded; empty for unlabelled texts.
    """

    texts: tuple[EvaluationText, ...]
    labels: frozenset[str]


def read_evaluation_data(path: Path) -> EvaluationData:
    """Read texts from a folder or a file.

    Raises:
        InputError: it is not there, not UTF-8, damaged, or holds no text; says where.
        CorpusError: a folder of texts is damaged.
    """
    if path.is_dir():
        return of_corpus(read_training_data(path, min_examples=1, heldout_fraction=0.0))
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError("cannot be read", label=str(path), got=str(cause), remedy="check --data") from cause
    readers = {".jsonl": _jsonl, ".tsv": _tsv}
    found = readers.get(path.suffix.casefold(), _passages)(path, content)
    if not found:
        raise InputError("has no text", label=str(path), remedy="check --data")
    labels = frozenset(label for text in found for label in (*text.positive, *(text.negative or ())))
    return EvaluationData(tuple(found), labels)


def of_corpus(corpus: Corpus, split: Split | None = None) -> EvaluationData:
    """The labelled texts of a corpus, or those of one split."""
    texts = [
        EvaluationText(text.text, text.group, text.positive, text.negative)
        for text in corpus.texts
        if not text.neutral and split in (None, text.split)
    ]
    return EvaluationData(tuple(texts), frozenset(corpus.concepts))


def _jsonl(path: Path, content: str) -> list[EvaluationText]:
    found = []
    for number, line in _lines(content):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as cause:
            raise _bad_line(path, number, str(cause)) from cause
        if not isinstance(row, Mapping):
            raise _bad_line(path, number, type(row).__name__)
        if isinstance(row.get("messages"), list):
            found += [_row(path, number, message, group=_group(row, number)) for message in row["messages"]]
        else:
            found.append(_row(path, number, row, group=_group(row, number)))
    return found


def _row(path: Path, number: int, row: Any, *, group: str) -> EvaluationText:
    text = row.get("text", row.get("content")) if isinstance(row, Mapping) else None
    if not isinstance(text, str) or not text.strip():
        raise _bad_line(path, number, "no text")
    positive = row.get("positive", row.get("labels", []))
    negative = row.get("negative")
    for labels in (positive, [] if negative is None else negative):
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise _bad_line(path, number, "labels that are no list of names")
    found = EvaluationText(text, group, _folded(positive), None if negative is None else _folded(negative))
    if both := set(found.positive) & set(found.negative or ()):
        raise _bad_line(path, number, f"positive and negative at once: {', '.join(sorted(both))}")
    _check_encodable(path, number, found)
    return found


def _group(row: Mapping[str, Any], number: int) -> str:
    return f"line {number}" if row.get("group") is None else str(row["group"])


def _tsv(path: Path, content: str) -> list[EvaluationText]:
    names_file = path.parent / "labels.txt"
    try:
        content_of_names = names_file.read_text(encoding="utf-8-sig") if names_file.is_file() else ""
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError("cannot be read", label=str(names_file), got=str(cause), remedy="check the file") from cause
    names = [name for _, name in _lines(content_of_names)]
    found = []
    for number, line in _lines(content):
        text, *rest = line.split("\t")
        if not text.strip():
            raise _bad_line(path, number, "no text")
        labels = [part.strip() for part in rest[0].split(",")] if rest else []
        try:
            labels = [_named(names, label) for label in labels]
        except IndexError as cause:
            raise _bad_line(path, number, f"label {rest[0][:40]} of {len(names)} in labels.txt") from cause
        found.append(EvaluationText(text, f"line {number}", _folded(labels)))
    return found


def _passages(path: Path, content: str) -> list[EvaluationText]:
    blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n", content)]
    return [EvaluationText(block, f"passage {number}", ()) for number, block in enumerate(blocks) if block]


def _named(names: Sequence[str], label: str) -> str:
    """The label, looked up where it is a number and there are names; IndexError where it is no line of theirs."""
    if not (names and _NUMBER.fullmatch(label)):
        return label
    digits = label.lstrip("0") or "0"
    if len(digits) > len(str(len(names))):  # int() refuses thousands of digits
        raise IndexError(label)
    return names[int(digits)]


def _lines(content: str) -> list[tuple[int, str]]:
    """Lines that are not blank with their numbers; JSON and TSV know no other line break than a line feed."""
    lines = enumerate(content.split("\n"), start=1)
    return [(number, line.removesuffix("\r")) for number, line in lines if line.strip()]


def _folded(labels: Sequence[str]) -> tuple[str, ...]:
    folded = (fold_name(label.strip()) for label in labels)
    return tuple(label for label in dict.fromkeys(folded) if label)


def _check_encodable(path: Path, number: int, text: EvaluationText) -> None:
    """JSON can escape half of a surrogate pair, which no tokenizer takes and no file can hold."""
    try:
        "".join((text.text, text.group, *text.positive, *(text.negative or ()))).encode()
    except UnicodeEncodeError as cause:
        raise _bad_line(path, number, f"not valid Unicode: {cause}") from cause


def _bad_line(path: Path, number: int, got: str) -> InputError:
    return InputError("a line is no text with labels", label=f"{path} line {number}", got=got, remedy=_SEE)
