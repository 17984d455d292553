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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amygdala_tl.corpus.folders import read_training_data
from amygdala_tl.errors import InputError


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
        corpus = read_training_data(path, min_examples=1)
        texts = [
            EvaluationText(text.text, text.group, text.positive, text.negative)
            for text in corpus.texts
            if not text.neutral
        ]
        return EvaluationData(tuple(texts), frozenset(corpus.concepts))
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


def _jsonl(path: Path, content: str) -> list[EvaluationText]:
    found = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as cause:
            raise _bad_line(path, number, str(cause)) from cause
        if not isinstance(row, Mapping):
            raise _bad_line(path, number, type(row).__name__)
        if isinstance(row.get("messages"), list):
            for message in row["messages"]:
                found.append(_row(path, number, message, group=str(row.get("group", f"line {number}"))))
        else:
            found.append(_row(path, number, row, group=str(row.get("group", f"line {number}"))))
    return found


def _row(path: Path, number: int, row: Any, *, group: str) -> EvaluationText:
    text = row.get("text", row.get("content")) if isinstance(row, Mapping) else None
    if not isinstance(text, str) or not text.strip():
        raise _bad_line(path, number, "no text")
    positive = row.get("positive", row.get("labels", []))
    negative = row.get("negative")
    for labels in (positive, negative or []):
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise _bad_line(path, number, "labels that are no list of names")
    return EvaluationText(text, group, _folded(positive), None if negative is None else _folded(negative))


def _tsv(path: Path, content: str) -> list[EvaluationText]:
    names_file = path.parent / "labels.txt"
    names = names_file.read_text(encoding="utf-8").split() if names_file.is_file() else []
    found = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        text, *rest = line.split("\t")
        labels = [part.strip() for part in rest[0].split(",")] if rest else []
        try:
            labels = [names[int(label)] if names and label.isdigit() else label for label in labels if label]
        except IndexError as cause:
            raise _bad_line(path, number, f"label {rest[0]} of {len(names)} in labels.txt") from cause
        found.append(EvaluationText(text, f"line {number}", _folded(labels)))
    return found


def _passages(path: Path, content: str) -> list[EvaluationText]:
    blocks = [" ".join(block.split()) for block in content.split("\n\n")]
    return [EvaluationText(block, f"passage {number}", ()) for number, block in enumerate(blocks) if block]


def _folded(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label.strip().casefold() for label in labels))


def _bad_line(path: Path, number: int, got: str) -> InputError:
    return InputError(
        "a line is no text with labels", label=f"{path} line {number}", got=got, remedy="see README, 'Other texts'"
    )
