"""Rows of a table or a JSON file -> sightings.

A row has its text under `text`, `content`, `sentence`, `note` or `body`, and its labels under one of `labels`, `label`,
`emotions`, `emotion`: a list, one name, names with `,`, `;` or `|` between them, or numbers that a `labels.txt` beside the file
names. `positive` and `negative` say both sides, `group` what dependent texts share. `messages` or `conversations` holds a
conversation: every turn with text is a text, and all of them are one group.

No labels (a missing or empty field) say that nothing is known, so the text is neutral. An empty list says that none applies.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from amygdala_tl.corpus.reasons import Tally, shortened
from amygdala_tl.corpus.sighting import Sighting
from amygdala_tl.decode import convert
from amygdala_tl.errors import CorpusError
from amygdala_tl.names import fold_name

TEXT_FIELDS = ("text", "content", "sentence", "note", "body")
LABEL_FIELDS = ("labels", "label", "emotions", "emotion")
_SIDES = ("positive", "negative")
_TURN_FIELDS = ("messages", "conversations", "conversation")
FIELDS = frozenset({*TEXT_FIELDS, *LABEL_FIELDS, *_SIDES, *_TURN_FIELDS, "group", "value", "role", "from"})

NO_TEXT = "row without text"
EMPTY_TURN = "turn without text"
SEE = "see docs/corpora.md, 'Tables'"
_NUMBER = re.compile(r"[0-9]+")

Names = str | int | float | list[str | int] | None


class _Part(msgspec.Struct):
    text: str | None = None


Text = str | list[str | _Part] | None


class _Turn(msgspec.Struct):
    text: Text = None
    content: Text = None
    value: Text = None
    labels: Names = None
    label: Names = None
    emotions: Names = None
    emotion: Names = None
    positive: Names = None
    negative: Names = None


class _Row(_Turn):
    sentence: Text = None
    note: Text = None
    body: Text = None
    group: str | int | float | None = None
    messages: list[_Turn] | None = None
    conversations: list[_Turn] | None = None
    conversation: list[_Turn] | None = None


def sightings_of(
    rows: Sequence[tuple[str, Mapping[str, Any]]], names: Sequence[str], tally: Tally
) -> Iterator[Sighting]:
    """Yield the texts of rows, each with its place in the file.

    Args:
        rows: place and fields.
        names: what numbers mean as labels, if anything.
        tally: counts rows and turns without text.

    Raises:
        CorpusError: a field has a wrong type, two fields give labels, or a number has no name; the error names the place.
    """
    columns = indicator_columns([row for _, row in rows])
    for place, fields in rows:
        folded = {str(name).strip().casefold(): value for name, value in fields.items()}
        if columns:
            folded["labels"] = [name for name in columns if _is_one(folded.get(name))]
        row = convert(folded, _Row, label=place, error=CorpusError, remedy=SEE)
        turns = row.messages or row.conversations or row.conversation
        if turns is None and row.messages is None and row.conversations is None and row.conversation is None:
            text = _joined(row.text, row.content, row.sentence, row.note, row.body, row.value)
            if text:
                group = None if row.group is None else str(row.group)
                yield _sighting(text, place, group, row, names)
            else:
                tally.add(NO_TEXT, place)
        for turn in turns or ():
            if text := _joined(turn.text, turn.content, turn.value):
                group = place if row.group is None else str(row.group)
                yield _sighting(text, place, group, turn if _has_labels(turn) else row, names)
            else:
                tally.add(EMPTY_TURN, place)


def indicator_columns(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the columns of zeros and ones that name labels, where a table has at least two and no field of labels."""
    folded = [{str(name).strip().casefold(): value for name, value in row.items()} for row in rows]
    every = {name for row in folded for name in row}
    if not folded or not every.isdisjoint({*LABEL_FIELDS, *_SIDES, *_TURN_FIELDS}):
        return ()
    found = tuple(
        name for name in dict.fromkeys(name for row in folded[:1] for name in row)
        if name and name not in FIELDS and all(_is_one(row.get(name)) is not None for row in folded)
    )  # fmt: skip
    return found if len(found) > 1 else ()


def _is_one(value: Any) -> bool | None:
    """Return a cell of zeros and ones as a truth value, or None for anything else."""
    written = value.strip().casefold() if isinstance(value, str) else value
    if written in ("0", "0.0", "false", 0):
        return False
    return True if written in ("1", "1.0", "true", 1) else None


def _joined(*fields: Text) -> str:
    """Return the first field with text, its parts joined."""
    for field in fields:
        parts = field if isinstance(field, list) else [field]
        texts = [part.text if isinstance(part, _Part) else part for part in parts]
        if joined := "\n".join(text for text in texts if text is not None and text.strip()).strip():
            return joined
    return ""


def _has_labels(turn: _Turn) -> bool:
    return any(getattr(turn, name) is not None for name in (*LABEL_FIELDS, *_SIDES))


def _sighting(text: str, place: str, group: str | None, row: _Turn, names: Sequence[str]) -> Sighting:
    said = {name: labels for name in LABEL_FIELDS if (labels := _names(getattr(row, name), names, place)) is not None}
    if len({frozenset(labels) for labels in said.values()}) > 1:
        got, need = " and ".join(said), "one field of labels"
        raise CorpusError("two fields give labels", label=place, got=got, need=need, remedy="remove one of them")
    positive = _names(row.positive, names, place)
    if positive is None:
        positive = next(iter(said.values()), None)
    negative = _names(row.negative, names, place)
    if both := set(positive or ()) & set(negative or ()):
        got = shortened(", ".join(sorted(both)))
        raise CorpusError("positive and negative at once", label=place, got=got, remedy=SEE)
    return Sighting(text, place, group, positive or (), negative or (), positive is not None and negative is None)


def _names(value: Names, names: Sequence[str], place: str) -> tuple[str, ...] | None:
    """Return the folded labels of a field; None if it says nothing."""
    if isinstance(value, str):
        bare = value.strip()
        inner = bare[1:-1] if bare[:1] + bare[-1:] in ("[]", "()", "{}") else bare
        if not bare:
            return None
        value = [part.strip().strip("'\"") for part in re.split(r"[,;|]", inner)]
    elif isinstance(value, float):
        if value != value:  # NaN, which pandas writes for an empty cell
            return None
        value = [int(value) if value.is_integer() else str(value)]
    elif isinstance(value, int):
        value = [value]
    if value is None:
        return None
    found = (fold_name(_named(names, str(label).strip(), place)) for label in value)
    return tuple(label for label in dict.fromkeys(found) if label)


def _named(names: Sequence[str], label: str, place: str) -> str:
    """Look up a label that is a number, if there are names."""
    if not (names and _NUMBER.fullmatch(label)):
        return label
    digits = label.lstrip("0") or "0"
    if len(digits) > len(str(len(names))) or int(digits) >= len(names):  # int() refuses thousands of digits
        got = f"label {label[:40]} of {len(names)} in labels.txt"
        raise CorpusError("the label has no name", label=place, got=got, remedy=SEE)
    return names[int(digits)]
